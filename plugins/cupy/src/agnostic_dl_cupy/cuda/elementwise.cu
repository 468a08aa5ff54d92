// Rectifier, bias and the masks of dropout: one element after the other, any number of threads.

// max(x, 0); NaN stays NaN.
extern "C" __global__ void relu(const STORAGE* x, STORAGE* out, Index count) {
    FOR_EACH(i, count) {
        ACCUM value = load(x[i]);
        out[i] = store(value > 0 || value != value ? value : (ACCUM)0);
    }
}

extern "C" __global__ void relu_grad(const STORAGE* g, const STORAGE* y, STORAGE* out,
                                     Index count) {
    FOR_EACH(i, count) out[i] = load(y[i]) > 0 ? g[i] : store((ACCUM)0);
}

// out (count / channels, channels) += bias (channels), in place; then the rectifier, if asked for.
extern "C" __global__ void add_bias(STORAGE* out, const STORAGE* bias, Index count, int channels,
                                    int rectify) {
    FOR_EACH(i, count) {
        ACCUM value = load(out[i]) + load(bias[rest(i, channels)]);
        out[i] = store(!rectify || value > 0 || value != value ? value : (ACCUM)0);
    }
}

__device__ inline unsigned rotate(unsigned word, int by) {
    return (word << by) | (word >> (32 - by));
}

// Threefry-2x32 with 20 rounds: Salmon, Moraes, Dror, Shaw, SC 2011.
__device__ inline void threefry(unsigned key0, unsigned key1, unsigned* x0, unsigned* x1) {
    const int by[8] = {13, 15, 26, 6, 17, 29, 16, 24};
    const unsigned schedule[3] = {key0, key1, key0 ^ key1 ^ 0x1BD11BDAu};
    unsigned a = *x0 + schedule[0], b = *x1 + schedule[1];
#pragma unroll
    for (int group = 0; group < 5; group++) {
#pragma unroll
        for (int round = 0; round < 4; round++) {
            a += b;
            b = rotate(b, by[4 * (group % 2) + round]) ^ a;
        }
        a += schedule[(group + 1) % 3];
        b += schedule[(group + 2) % 3] + group + 1;
    }
    *x0 = a;
    *x1 = b;
}

// Counter i gives the words i and half + i of the stream: kept where they fall below the level.
extern "C" __global__ void dropout_mask(const unsigned* key, STORAGE* out, Index count,
                                        unsigned stream0, unsigned stream1, unsigned level,
                                        ACCUM kept) {
    Index half = (count + 1) / 2;
    unsigned key0 = stream0, key1 = stream1;
    threefry(key[0], key[1], &key0, &key1);
    FOR_EACH(i, half) {
        unsigned first = (unsigned)i, second = 0;
        threefry(key0, key1, &first, &second);
        out[i] = store(first < level ? kept : (ACCUM)0);
        if (half + i < count) out[half + i] = store(second < level ? kept : (ACCUM)0);
    }
}
