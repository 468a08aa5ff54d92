"""The whole table: every primitive of the core, with arguments at which it can be checked."""

from agnostic_dl.testing import operations, operations_of_layers, operations_on_shapes

#: The modules that fill the table when they are imported.
PARTS = (operations, operations_on_shapes, operations_of_layers)
OPERATIONS = operations.OPERATIONS
