// Arrays laid end to end, by one launch: blockIdx.y counts them. The table comes with the launch, as a
// parameter, so that a graph has it.
struct Table {
    const STORAGE* from[TABLE];
    Index start[TABLE + 1];
};

extern "C" __global__ void pack(const __grid_constant__ Table table, STORAGE* out) {
    const STORAGE* from = table.from[blockIdx.y];
    Index start = table.start[blockIdx.y], size = table.start[blockIdx.y + 1] - start;
    FOR_EACH(i, size) out[start + i] = from[i];
}
