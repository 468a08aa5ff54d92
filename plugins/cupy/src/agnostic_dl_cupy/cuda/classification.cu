// Softmax cross-entropy of logits (rows, classes): *lanes* threads per row (a power of two), which
// meet in shared memory. LABEL is the labels' type. A label that is no class has probability 0 of
// being anything: it adds nothing, as in the reference.

// Largest of the lanes' numbers, or their sum, in all of them.
__device__ inline ACCUM reduce(ACCUM* shared, ACCUM value, int lanes, bool largest) {
    int lane = threadIdx.x % lanes;
    shared[threadIdx.x] = value;
    __syncthreads();
    for (int step = lanes / 2; step > 0; step /= 2) {
        if (lane < step) {
            ACCUM a = shared[threadIdx.x], b = shared[threadIdx.x + step];
            shared[threadIdx.x] = largest ? (a > b ? a : b) : a + b;
        }
        __syncthreads();
    }
    ACCUM result = shared[threadIdx.x - lane];
    __syncthreads();
    return result;
}

// Rows beyond the last are walked through without reading, so that all threads of a block meet.
#define FOR_EACH_ROW                                                            \
    int lane = threadIdx.x % lanes, lines = blockDim.x / lanes;                 \
    for (Index start = (Index)blockIdx.x * lines; start < rows;                 \
         start += (Index)gridDim.x * lines)

#define SOFTMAX                                                                 \
    Index row = start + threadIdx.x / lanes;                                    \
    int width = row < rows ? classes : 0;                                       \
    const STORAGE* line = logits + row * classes;                               \
    ACCUM best = LOWEST, total = 0;                                             \
    for (int k = lane; k < width; k += lanes)                                   \
        best = load(line[k]) > best ? load(line[k]) : best;                     \
    best = reduce(shared, best, lanes, true);                                   \
    for (int k = lane; k < width; k += lanes) total += exp(load(line[k]) - best); \
    total = reduce(shared, total, lanes, false);

extern "C" __global__ void softmax_cross_entropy(const STORAGE* logits, const LABEL* labels,
                                                 STORAGE* out, Index rows, int classes,
                                                 int lanes) {
    __shared__ ACCUM shared[128];
    FOR_EACH_ROW {
        SOFTMAX
        if (lane == 0 && row < rows) {
            Index label = (Index)labels[row];
            bool known = label >= 0 && label < classes;
            out[row] = store(log(total) - (known ? load(line[label]) - best : (ACCUM)0));
        }
    }
}

extern "C" __global__ void softmax_cross_entropy_grad(const STORAGE* g, const STORAGE* logits,
                                                      const LABEL* labels, STORAGE* out, Index rows,
                                                      int classes, int lanes) {
    __shared__ ACCUM shared[128];
    FOR_EACH_ROW {
        SOFTMAX
        for (int k = lane; k < width; k += lanes) {
            ACCUM chosen = (Index)labels[row] == k ? (ACCUM)1 : (ACCUM)0;
            ACCUM share = exp(load(line[k]) - best) / total;
            out[row * classes + k] = store((share - chosen) * load(g[row]));
        }
    }
}
