// Batch norm of x (rows, channels). Each reduction has two kernels: blocks of threads reduce pieces
// of the rows, then one thread per channel joins the pieces, always in the same order.
// A block is *lanes* neighbouring channels wide; blockIdx.x counts channels, blockIdx.y pieces.

#define BLOCK 256

// What there is for each channel: as the images, or VECTOR beside short ones.
#ifdef VECTOR
__device__ inline ACCUM load_vector(VECTOR value) { return value; }
__device__ inline VECTOR store_vector(ACCUM value) { return value; }
#else
typedef STORAGE VECTOR;
__device__ inline ACCUM load_vector(VECTOR value) { return load(value); }
__device__ inline VECTOR store_vector(ACCUM value) { return store(value); }
#endif

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

// Welford's recurrence in each thread; partial (pieces, 3, channels): count, mean, deviations.
extern "C" __global__ void batch_norm_partial(const STORAGE* x, ACCUM* partial, Index rows,
                                              int channels, int lanes) {
    __shared__ ACCUM counts[BLOCK], means[BLOCK], squares[BLOCK];
    int lane = threadIdx.x % lanes, line = threadIdx.x / lanes, lines = blockDim.x / lanes;
    int channel = blockIdx.x * lanes + lane;
    ACCUM n = 0, mean = 0, m2 = 0;
    if (channel < channels)
        for (Index r = (Index)blockIdx.y * lines + line; r < rows; r += (Index)gridDim.y * lines) {
            ACCUM value = load(x[r * channels + channel]), delta = value - mean;
            n += 1;
            mean += delta / n;
            m2 += delta * (value - mean);
        }
    counts[threadIdx.x] = n, means[threadIdx.x] = mean, squares[threadIdx.x] = m2;
    __syncthreads();
    if (line == 0 && channel < channels) {
        for (int k = lane + lanes; k < lines * lanes; k += lanes)
            join(&n, &mean, &m2, counts[k], means[k], squares[k]);
        ACCUM* piece = partial + (Index)blockIdx.y * 3 * channels + channel;
        piece[0] = n, piece[channels] = mean, piece[2 * channels] = m2;
    }
    __syncthreads();
}

// Mean and variance as they are stored; scaling (2, channels): the mean, unrounded, and what the
// distance from it is multiplied by.
extern "C" __global__ void batch_norm_finish(const ACCUM* partial, const VECTOR* weight,
                                             VECTOR* mean, VECTOR* variance, ACCUM* scaling,
                                             int pieces, int channels, ACCUM eps) {
    FOR_EACH(c, channels) {
        double n = 0, middle = 0, m2 = 0;
        for (int k = 0; k < pieces; k++) {
            const ACCUM* piece = partial + (Index)k * 3 * channels + c;
            join<double>(&n, &middle, &m2, piece[0], piece[channels], piece[2 * channels]);
        }
        ACCUM spread = (ACCUM)(m2 / n);
        mean[c] = store_vector((ACCUM)middle), variance[c] = store_vector(spread);
        scaling[c] = (ACCUM)middle, scaling[channels + c] = load_vector(weight[c]) / sqrt(spread + eps);
    }
}

// With the rectifier where there is a place for what is positive; NaN stays NaN.
extern "C" __global__ void batch_norm_apply(const STORAGE* x, const ACCUM* scaling,
                                            const VECTOR* bias, STORAGE* out,
                                            unsigned char* positive, Index count, int channels) {
    FOR_EACH(i, count) {
        int c = rest(i, channels);
        ACCUM value = (load(x[i]) - scaling[c]) * scaling[channels + c] + load_vector(bias[c]);
        if (positive) {
            positive[i] = load(store(value)) > 0;
            value = positive[i] || value != value ? value : (ACCUM)0;
        }
        out[i] = store(value);
    }
}

// The gradient that comes back through the rectifier, if there was one.
__device__ inline ACCUM passed(const STORAGE* g, const unsigned char* positive, Index i) {
    return !positive || positive[i] ? load(g[i]) : (ACCUM)0;
}

// partial (pieces, 2, channels): the sums of g and of g · (x - mean).
extern "C" __global__ void batch_norm_grad_partial(const STORAGE* g, const STORAGE* x,
                                                   const VECTOR* mean,
                                                   const unsigned char* positive, ACCUM* partial,
                                                   Index rows, int channels, int lanes) {
    __shared__ ACCUM pulls[BLOCK], twists[BLOCK];
    int lane = threadIdx.x % lanes, line = threadIdx.x / lanes, lines = blockDim.x / lanes;
    int channel = blockIdx.x * lanes + lane;
    ACCUM pull = 0, twist = 0;
    if (channel < channels) {
        ACCUM middle = load_vector(mean[channel]);
        for (Index r = (Index)blockIdx.y * lines + line; r < rows; r += (Index)gridDim.y * lines) {
            ACCUM slope = passed(g, positive, r * channels + channel);
            pull += slope;
            twist += slope * (load(x[r * channels + channel]) - middle);
        }
    }
    pulls[threadIdx.x] = pull, twists[threadIdx.x] = twist;
    __syncthreads();
    if (line == 0 && channel < channels) {
        for (int k = lane + lanes; k < lines * lanes; k += lanes)
            pull += pulls[k], twist += twists[k];
        ACCUM* piece = partial + (Index)blockIdx.y * 2 * channels + channel;
        piece[0] = pull, piece[channels] = twist;
    }
    __syncthreads();
}

// The gradients of weight and bias. terms (3, channels), if there is a weight: what each g is
// shifted by, by what share of the distance from the mean, and what that is multiplied by.
extern "C" __global__ void batch_norm_grad_finish(const ACCUM* partial, const VECTOR* variance,
                                                  const VECTOR* weight, ACCUM* terms,
                                                  VECTOR* weight_grad, VECTOR* bias_grad,
                                                  Index rows, int pieces, int channels,
                                                  ACCUM eps) {
    FOR_EACH(c, channels) {
        double pull = 0, twist = 0;
        for (int k = 0; k < pieces; k++) {
            const ACCUM* piece = partial + (Index)k * 2 * channels + c;
            pull += piece[0], twist += piece[channels];
        }
        ACCUM rstd = 1 / sqrt(load_vector(variance[c]) + eps);
        weight_grad[c] = store_vector((ACCUM)twist * rstd);
        bias_grad[c] = store_vector((ACCUM)pull);
        if (!weight) continue;
        terms[c] = (ACCUM)(pull / rows);
        terms[channels + c] = (ACCUM)(twist / rows) * rstd * rstd;
        terms[2 * channels + c] = load_vector(weight[c]) * rstd;
    }
}

extern "C" __global__ void batch_norm_input_grad(const STORAGE* g, const STORAGE* x,
                                                 const VECTOR* mean, const ACCUM* terms,
                                                 const unsigned char* positive, STORAGE* out,
                                                 Index count, int channels) {
    FOR_EACH(i, count) {
        int c = rest(i, channels);
        ACCUM pull = terms[c] + (load(x[i]) - load_vector(mean[c])) * terms[channels + c];
        out[i] = store((passed(g, positive, i) - pull) * terms[2 * channels + c]);
    }
}
