// Sums over the rows of x (rows, channels): blocks of threads add up pieces of the rows, then a few
// threads per channel add up the pieces, always in the same order. CuPy has one block do all of it.

// The lines of a block meet: at last the first one has the sums of all.
__device__ inline void gather(ACCUM* sums, int lanes) {
    for (int step = BLOCK / 2; step >= lanes; step /= 2) {
        int here = threadIdx.x, there = here + step;
        if (here < step && there < blockDim.x) sums[here] += sums[there];
        __syncthreads();
    }
}

template <int W>
__device__ inline void add_up(const STORAGE* x, ACCUM* partial, Index rows, int channels,
                              int lanes) {
    __shared__ ACCUM sums[BLOCK];
    PLACE
    int channel = (blockIdx.x * lanes + lane) * W;
    ACCUM sum[W];
    for (int k = 0; k < W; k++) sum[k] = 0;
    if (channel < channels)
#pragma unroll 4
        for (Index r = (Index)blockIdx.y * lines + line; r < rows; r += (Index)gridDim.y * lines) {
            Pack<W> pack = fetch<W>(x + r * channels + channel);
            for (int k = 0; k < W; k++) sum[k] += load(pack.at[k]);
        }
    for (int k = 0; k < W; k++) {
        sums[threadIdx.x] = sum[k];
        __syncthreads();
        gather(sums, lanes);
        if (line == 0 && channel < channels)
            partial[(Index)blockIdx.y * channels + channel + k] = sums[lane];
        __syncthreads();
    }
}

extern "C" __global__ void sum_partial(const STORAGE* x, ACCUM* partial, Index rows, int channels,
                                       int lanes, int packed) {
    if (packed) add_up<WIDTH>(x, partial, rows, channels, lanes);
    else add_up<1>(x, partial, rows, channels, lanes);
}

// The product of two vectors, a piece for each block. What is left over of the packs comes at the end.
extern "C" __global__ void dot_partial(const STORAGE* x, const STORAGE* y, ACCUM* partial,
                                       Index count, int packed) {
    __shared__ ACCUM sums[BLOCK];
    ACCUM sum = 0;
    Index packs = packed ? count / WIDTH : 0;
#pragma unroll 4
    FOR_EACH(p, packs) {
        Pack<WIDTH> a = fetch<WIDTH>(x + p * WIDTH), b = fetch<WIDTH>(y + p * WIDTH);
        for (int k = 0; k < WIDTH; k++) sum += load(a.at[k]) * load(b.at[k]);
    }
    FOR_EACH(i, count - packs * WIDTH)
        sum += load(x[packs * WIDTH + i]) * load(y[packs * WIDTH + i]);
    sums[threadIdx.x] = sum;
    __syncthreads();
    gather(sums, 1);
    if (threadIdx.x == 0) partial[blockIdx.x] = sums[0];
    __syncthreads();
}

extern "C" __global__ void sum_finish(const ACCUM* partial, STORAGE* out, int pieces, int channels,
                                      int lanes) {
    __shared__ ACCUM sums[BLOCK];
    PLACE
    int c = blockIdx.x * lanes + lane;
    ACCUM sum = 0;
    if (c < channels)
#pragma unroll 4
        for (int k = line; k < pieces; k += lines) sum += partial[(Index)k * channels + c];
    sums[threadIdx.x] = sum;
    __syncthreads();
    gather(sums, lanes);
    if (line == 0 && c < channels) out[c] = store(sums[lane]);
    __syncthreads();
}
