// Pooling and its adjoints: one thread per element of the result, which gathers what belongs to it,
// so that nothing is added atomically and the order of every sum is fixed.

#define GEOMETRY                                                                               \
    int height, int width, int channels, int out_height, int out_width, int kernel_height,     \
        int kernel_width, int stride_height, int stride_width, int top, int left

#define UNRAVEL(index, rows, columns)                       \
    Index pixel = quotient(index, channels);                \
    Index line = quotient(pixel, columns);                  \
    Index image = quotient(line, rows);                     \
    int channel = rest(index, channels), column = rest(pixel, columns), row = rest(line, rows);

// The windows along one axis that an element lies in: first <= window < last.
__device__ inline int first_window(int place, int kernel, int stride) {
    return place < kernel ? 0 : (place - kernel) / stride + 1;
}
__device__ inline int last_window(int place, int stride, int count) {
    int last = place / stride + 1;
    return last < count ? last : count;
}

extern "C" __global__ void max_pool2d(const STORAGE* x, STORAGE* out, Index count, GEOMETRY) {
    FOR_EACH(i, count) {
        UNRAVEL(i, out_height, out_width)
        ACCUM best = LOWEST;
        for (int a = 0; a < kernel_height; a++) {
            int y = row * stride_height + a - top;
            if (y < 0 || y >= height) continue;
            for (int b = 0; b < kernel_width; b++) {
                int z = column * stride_width + b - left;
                if (z < 0 || z >= width) continue;
                ACCUM value = load(x[((image * height + y) * width + z) * channels + channel]);
                if (value > best || value != value) best = value;
            }
        }
        out[i] = store(best);
    }
}

// Whether the element at *place* of a window (in C order) is the first that equals its largest.
// Borders hold the lowest number: they win windows in which nothing is larger.
__device__ inline bool is_first(const STORAGE* x, ACCUM best, int place, Index image, int row,
                                int column, int channel, GEOMETRY) {
    for (int k = 0; k < place; k++) {
        int y = row * stride_height + k / kernel_width - top;
        int z = column * stride_width + k % kernel_width - left;
        bool inside = y >= 0 && y < height && z >= 0 && z < width;
        ACCUM value = LOWEST;
        if (inside) value = load(x[((image * height + y) * width + z) * channels + channel]);
        if (value == best) return false;
    }
    return true;
}

extern "C" __global__ void max_pool2d_grad(const STORAGE* g, const STORAGE* x, const STORAGE* out,
                                           STORAGE* gradient, Index count, GEOMETRY) {
    FOR_EACH(i, count) {
        UNRAVEL(i, height, width)
        ACCUM own = load(x[i]), total = 0;
        int y = row + top, z = column + left;
        for (int p = first_window(y, kernel_height, stride_height);
             p < last_window(y, stride_height, out_height); p++) {
            for (int q = first_window(z, kernel_width, stride_width);
                 q < last_window(z, stride_width, out_width); q++) {
                Index window = ((image * out_height + p) * out_width + q) * channels + channel;
                int place = (y - p * stride_height) * kernel_width + z - q * stride_width;
                if (own == load(out[window]) &&
                    is_first(x, own, place, image, p, q, channel, height, width, channels,
                             out_height, out_width, kernel_height, kernel_width, stride_height,
                             stride_width, top, left))
                    total += load(g[window]);
            }
        }
        gradient[i] = store(total);
    }
}

// How many elements window *k* along one axis averages: those inside, or borders as well.
__device__ inline int members(int k, int size, int kernel, int stride, int border, int count_pad) {
    if (count_pad) return kernel;
    int start = k * stride - border, stop = start + kernel;
    return (stop < size ? stop : size) - (start > 0 ? start : 0);
}

extern "C" __global__ void avg_pool2d(const STORAGE* x, STORAGE* out, Index count, GEOMETRY,
                                      int count_pad) {
    FOR_EACH(i, count) {
        UNRAVEL(i, out_height, out_width)
        ACCUM total = 0;
        for (int a = 0; a < kernel_height; a++) {
            int y = row * stride_height + a - top;
            if (y < 0 || y >= height) continue;
            for (int b = 0; b < kernel_width; b++) {
                int z = column * stride_width + b - left;
                if (z < 0 || z >= width) continue;
                total += load(x[((image * height + y) * width + z) * channels + channel]);
            }
        }
        int size = members(row, height, kernel_height, stride_height, top, count_pad) *
                   members(column, width, kernel_width, stride_width, left, count_pad);
        out[i] = store(total / size);
    }
}

extern "C" __global__ void avg_pool2d_grad(const STORAGE* g, STORAGE* gradient, Index count,
                                           GEOMETRY, int count_pad) {
    FOR_EACH(i, count) {
        UNRAVEL(i, height, width)
        ACCUM total = 0;
        int y = row + top, z = column + left;
        for (int p = first_window(y, kernel_height, stride_height);
             p < last_window(y, stride_height, out_height); p++) {
            int rows = members(p, height, kernel_height, stride_height, top, count_pad);
            for (int q = first_window(z, kernel_width, stride_width);
                 q < last_window(z, stride_width, out_width); q++) {
                int size = rows * members(q, width, kernel_width, stride_width, left, count_pad);
                total += load(g[((image * out_height + p) * out_width + q) * channels + channel]) /
                         size;
            }
        }
        gradient[i] = store(total);
    }
}
