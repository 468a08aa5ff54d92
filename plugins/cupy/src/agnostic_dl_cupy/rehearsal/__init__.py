"""The backend's rehearsal without a GPU: the same kernels' source, run by the host's compiler."""
