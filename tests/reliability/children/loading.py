"""Load the run at PATH and print its fingerprint."""

import sys

from reliability_rows import common

import agnostic_dl as adl

if __name__ == "__main__":
    print(common.fingerprint(adl.Trainer.load(sys.argv[1])))
