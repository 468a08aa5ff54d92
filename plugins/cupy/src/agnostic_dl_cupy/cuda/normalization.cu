// Batch norm of x (rows, channels). Each reduction has two kernels: blocks of threads reduce pieces
// of the rows, then a few threads per channel join the pieces, always in the same order.
// A block is *lanes* neighbours wide; blockIdx.x counts them, blockIdx.y pieces. Where *packed*,
// each thread has WIDTH neighbouring channels, which lie in 16 bytes that begin at a multiple of 16.

// What there is for each channel: as the images, or VECTOR beside short ones.
#ifdef VECTOR
__device__ inline ACCUM load_vector(VECTOR value) { return value; }
__device__ inline VECTOR store_vector(ACCUM value) { return value; }
#else
typedef STORAGE VECTOR;
__device__ inline ACCUM load_vector(VECTOR value) { return load(value); }
__device__ inline VECTOR store_vector(ACCUM value) { return store(value); }
#endif

// One byte of truth for each of W neighbours. Without an array of them all are true.
template <int W> __device__ inline MARKS marks(const unsigned char* positive, Index i) {
    if (!positive) return ~(MARKS)0;
    return W == 1 ? (MARKS)positive[i] : *(const MARKS*)(positive + i);
}
template <int W> __device__ inline void mark(unsigned char* positive, Index i, MARKS bytes) {
    if (W == 1) positive[i] = (unsigned char)bytes;
    else *(MARKS*)(positive + i) = bytes;
}
__device__ inline ACCUM passed(STORAGE g, MARKS marks, int k) {
    return marks >> 8 * k & 0xff ? load(g) : (ACCUM)0;
}

// Joins mean and sum of squared deviations of two sets: Chan, Golub and LeVeque, 1979.
template <class Number>
__device__ inline void join(Number* n, Number* mean, Number* m2, Number n_b, Number mean_b,
                            Number m2_b) {
    if (n_b == 0) return;
    Number total = *n + n_b, delta = mean_b - *mean;
    *mean += delta * (n_b / total);
    *m2 += m2_b + delta * delta * (*n * (n_b / total));
    *n = total;
}

// The lines of a block meet: at last the first one has the sets, or the sums, of all.
template <class Number>
__device__ inline void meet(Number* n, Number* mean, Number* m2, int lanes) {
    for (int step = BLOCK / 2; step >= lanes; step /= 2) {
        int here = threadIdx.x, there = here + step;
        if (here < step && there < blockDim.x)
            join(n + here, mean + here, m2 + here, n[there], mean[there], m2[there]);
        __syncthreads();
    }
}
template <class Number> __device__ inline void meet(Number* one, Number* other, int lanes) {
    for (int step = BLOCK / 2; step >= lanes; step /= 2) {
        int here = threadIdx.x, there = here + step;
        if (here < step && there < blockDim.x) one[here] += one[there], other[here] += other[there];
        __syncthreads();
    }
}

// Welford's recurrence in each thread; partial (pieces, 3, channels): count, mean, deviations.
template <int W>
__device__ inline void moments(const STORAGE* x, ACCUM* partial, Index rows, int channels,
                               int lanes) {
    __shared__ ACCUM counts[BLOCK], means[BLOCK], squares[BLOCK];
    PLACE
    int channel = (blockIdx.x * lanes + lane) * W;
    ACCUM n = 0, mean[W], m2[W];
    for (int k = 0; k < W; k++) mean[k] = m2[k] = 0;
    if (channel < channels)
#pragma unroll 4
        for (Index r = (Index)blockIdx.y * lines + line; r < rows; r += (Index)gridDim.y * lines) {
            Pack<W> pack = fetch<W>(x + r * channels + channel);
            n += 1;
            ACCUM share = 1 / n;
            for (int k = 0; k < W; k++) {
                ACCUM value = load(pack.at[k]), delta = value - mean[k];
                mean[k] += delta * share;
                m2[k] += delta * (value - mean[k]);
            }
        }
    ACCUM* piece = partial + (Index)blockIdx.y * 3 * channels + channel;
    for (int k = 0; k < W; k++) {
        counts[threadIdx.x] = n, means[threadIdx.x] = mean[k], squares[threadIdx.x] = m2[k];
        __syncthreads();
        meet(counts, means, squares, lanes);
        if (line == 0 && channel < channels) {
            piece[k] = counts[lane], piece[channels + k] = means[lane];
            piece[2 * channels + k] = squares[lane];
        }
        __syncthreads();
    }
}

extern "C" __global__ void batch_norm_partial(const STORAGE* x, ACCUM* partial, Index rows,
                                              int channels, int lanes, int packed) {
    if (packed) moments<WIDTH>(x, partial, rows, channels, lanes);
    else moments<1>(x, partial, rows, channels, lanes);
}

// Mean and variance as they are stored; scaling (2, channels): the mean, unrounded, and what the
// distance from it is multiplied by.
extern "C" __global__ void batch_norm_finish(const ACCUM* partial, const VECTOR* weight,
                                             VECTOR* mean, VECTOR* variance, ACCUM* scaling,
                                             int pieces, int channels, int lanes, ACCUM eps) {
    __shared__ double counts[BLOCK], means[BLOCK], squares[BLOCK];
    PLACE
    int c = blockIdx.x * lanes + lane;
    double n = 0, middle = 0, m2 = 0;
    if (c < channels)
#pragma unroll 4
        for (int k = line; k < pieces; k += lines) {
            const ACCUM* piece = partial + (Index)k * 3 * channels + c;
            join<double>(&n, &middle, &m2, piece[0], piece[channels], piece[2 * channels]);
        }
    counts[threadIdx.x] = n, means[threadIdx.x] = middle, squares[threadIdx.x] = m2;
    __syncthreads();
    meet(counts, means, squares, lanes);
    if (line == 0 && c < channels) {
        ACCUM middle = (ACCUM)means[lane], spread = (ACCUM)(squares[lane] / counts[lane]);
        mean[c] = store_vector(middle), variance[c] = store_vector(spread);
        scaling[c] = middle, scaling[channels + c] = load_vector(weight[c]) / sqrt(spread + eps);
    }
    __syncthreads();
}

// Walks over packs. What there is for each channel is read before the first one, and again only where
// a thread comes to other channels.
#define FOR_EACH_PACK(p)                                       \
    const bool fixed = ALL_THREADS * W % channels == 0;        \
    FOR_EACH(p, count / W)
#define AT_OTHER_CHANNELS(p) if (!fixed || p == THIS_THREAD)

// With the rectifier where there is a place for what is positive; NaN stays NaN.
template <int W>
__device__ inline void normalize(const STORAGE* x, const ACCUM* scaling, const VECTOR* bias,
                                 STORAGE* out, unsigned char* positive, Index count, int channels) {
    ACCUM middle[W], share[W], shift[W];
    FOR_EACH_PACK(p) {
        Index i = p * W;
        AT_OTHER_CHANNELS(p) for (int k = 0, c = rest(i, channels); k < W; k++, c++)
            middle[k] = scaling[c], share[k] = scaling[channels + c], shift[k] = load_vector(bias[c]);
        Pack<W> pack = fetch<W>(x + i);
        MARKS bytes = 0;
        for (int k = 0; k < W; k++) {
            ACCUM value = (load(pack.at[k]) - middle[k]) * share[k] + shift[k];
            if (positive) {
                bool above = load(store(value)) > 0;
                bytes |= (MARKS)above << 8 * k;
                value = above || value != value ? value : (ACCUM)0;
            }
            pack.at[k] = store(value);
        }
        put(out + i, pack);
        if (positive) mark<W>(positive, i, bytes);
    }
}

extern "C" __global__ void batch_norm_apply(const STORAGE* x, const ACCUM* scaling,
                                            const VECTOR* bias, STORAGE* out,
                                            unsigned char* positive, Index count, int channels,
                                            int packed) {
    if (packed) normalize<WIDTH>(x, scaling, bias, out, positive, count, channels);
    else normalize<1>(x, scaling, bias, out, positive, count, channels);
}

// partial (pieces, 2, channels): the sums of g and of g · (x - mean).
template <int W>
__device__ inline void slopes(const STORAGE* g, const STORAGE* x, const VECTOR* mean,
                              const unsigned char* positive, ACCUM* partial, Index rows,
                              int channels, int lanes) {
    __shared__ ACCUM pulls[BLOCK], twists[BLOCK];
    PLACE
    int channel = (blockIdx.x * lanes + lane) * W;
    ACCUM pull[W], twist[W], middle[W];
    for (int k = 0; k < W; k++) {
        pull[k] = twist[k] = 0;
        middle[k] = channel < channels ? load_vector(mean[channel + k]) : (ACCUM)0;
    }
    if (channel < channels)
#pragma unroll 4
        for (Index r = (Index)blockIdx.y * lines + line; r < rows; r += (Index)gridDim.y * lines) {
            Index i = r * channels + channel;
            Pack<W> slope = fetch<W>(g + i), image = fetch<W>(x + i);
            MARKS bytes = marks<W>(positive, i);
            for (int k = 0; k < W; k++) {
                ACCUM value = passed(slope.at[k], bytes, k);
                pull[k] += value;
                twist[k] += value * (load(image.at[k]) - middle[k]);
            }
        }
    ACCUM* piece = partial + (Index)blockIdx.y * 2 * channels + channel;
    for (int k = 0; k < W; k++) {
        pulls[threadIdx.x] = pull[k], twists[threadIdx.x] = twist[k];
        __syncthreads();
        meet(pulls, twists, lanes);
        if (line == 0 && channel < channels) piece[k] = pulls[lane], piece[channels + k] = twists[lane];
        __syncthreads();
    }
}

extern "C" __global__ void batch_norm_grad_partial(const STORAGE* g, const STORAGE* x,
                                                   const VECTOR* mean,
                                                   const unsigned char* positive, ACCUM* partial,
                                                   Index rows, int channels, int lanes,
                                                   int packed) {
    if (packed) slopes<WIDTH>(g, x, mean, positive, partial, rows, channels, lanes);
    else slopes<1>(g, x, mean, positive, partial, rows, channels, lanes);
}

// The gradients of weight and bias. terms (3, channels), if there is a weight: what each g is
// shifted by, by what share of the distance from the mean, and what that is multiplied by.
extern "C" __global__ void batch_norm_grad_finish(const ACCUM* partial, const VECTOR* variance,
                                                  const VECTOR* weight, ACCUM* terms,
                                                  VECTOR* weight_grad, VECTOR* bias_grad,
                                                  Index rows, int pieces, int channels, int lanes,
                                                  ACCUM eps) {
    __shared__ double pulls[BLOCK], twists[BLOCK];
    PLACE
    int c = blockIdx.x * lanes + lane;
    double pull = 0, twist = 0;
    if (c < channels)
#pragma unroll 4
        for (int k = line; k < pieces; k += lines) {
            const ACCUM* piece = partial + (Index)k * 2 * channels + c;
            pull += piece[0], twist += piece[channels];
        }
    pulls[threadIdx.x] = pull, twists[threadIdx.x] = twist;
    __syncthreads();
    meet(pulls, twists, lanes);
    if (line == 0 && c < channels) {
        double pull = pulls[lane], twist = twists[lane];
        ACCUM rstd = 1 / sqrt(load_vector(variance[c]) + eps);
        weight_grad[c] = store_vector((ACCUM)twist * rstd);
        bias_grad[c] = store_vector((ACCUM)pull);
        if (weight) {
            terms[c] = (ACCUM)(pull / rows);
            terms[channels + c] = (ACCUM)(twist / rows) * rstd * rstd;
            terms[2 * channels + c] = load_vector(weight[c]) * rstd;
        }
    }
    __syncthreads();
}

template <int W>
__device__ inline void descend(const STORAGE* g, const STORAGE* x, const VECTOR* mean,
                               const ACCUM* terms, const unsigned char* positive, STORAGE* out,
                               Index count, int channels) {
    ACCUM middle[W], shift[W], share[W], factor[W];
    FOR_EACH_PACK(p) {
        Index i = p * W;
        AT_OTHER_CHANNELS(p) for (int k = 0, c = rest(i, channels); k < W; k++, c++) {
            middle[k] = load_vector(mean[c]), shift[k] = terms[c];
            share[k] = terms[channels + c], factor[k] = terms[2 * channels + c];
        }
        Pack<W> slope = fetch<W>(g + i), image = fetch<W>(x + i);
        MARKS bytes = marks<W>(positive, i);
        for (int k = 0; k < W; k++) {
            ACCUM pull = shift[k] + (load(image.at[k]) - middle[k]) * share[k];
            slope.at[k] = store((passed(slope.at[k], bytes, k) - pull) * factor[k]);
        }
        put(out + i, slope);
    }
}

extern "C" __global__ void batch_norm_input_grad(const STORAGE* g, const STORAGE* x,
                                                 const VECTOR* mean, const ACCUM* terms,
                                                 const unsigned char* positive, STORAGE* out,
                                                 Index count, int channels, int packed) {
    if (packed) descend<WIDTH>(g, x, mean, terms, positive, out, count, channels);
    else descend<1>(g, x, mean, terms, positive, out, count, channels);
}
