// Windows of images as the rows of a matrix, and back: what a convolution by matrix products needs.
// columns (images · out_height · out_width, groups, kernel_height · kernel_width, depth), with
// groups · depth = channels.

#define GEOMETRY                                                                               \
    int height, int width, int channels, int groups, int out_height, int out_width,            \
        int kernel_height, int kernel_width, int stride_height, int stride_width, int top,     \
        int left, int dilation_height, int dilation_width

extern "C" __global__ void image_to_columns(const STORAGE* x, STORAGE* columns, Index count,
                                            GEOMETRY) {
    int depth = channels / groups, taps = kernel_height * kernel_width;
    FOR_EACH(i, count) {
        Index place_of_tap = quotient(i, depth), set = quotient(place_of_tap, taps);
        int inner = rest(i, depth), tap = rest(place_of_tap, taps), group = rest(set, groups);
        Index window = quotient(set, groups), line = quotient(window, out_width);
        int z = rest(window, out_width) * stride_width + tap % kernel_width * dilation_width;
        int y = rest(line, out_height) * stride_height + tap / kernel_width * dilation_height;
        Index image = quotient(line, out_height);
        y -= top, z -= left;
        bool inside = y >= 0 && y < height && z >= 0 && z < width;
        Index place = ((image * height + y) * width + z) * channels + group * depth + inner;
        columns[i] = inside ? x[place] : store((ACCUM)0);
    }
}

// One thread per element of the image: adds up the columns' elements that were copied from it.
extern "C" __global__ void columns_to_image(const STORAGE* columns, STORAGE* x, Index count,
                                            GEOMETRY) {
    int depth = channels / groups, taps = kernel_height * kernel_width;
    FOR_EACH(i, count) {
        Index pixel = quotient(i, channels), line = quotient(pixel, width);
        int channel = rest(i, channels), column = rest(pixel, width), row = rest(line, height);
        Index image = quotient(line, height);
        ACCUM total = 0;
        for (int tap = 0; tap < taps; tap++) {
            int y = row + top - tap / kernel_width * dilation_height;
            int z = column + left - tap % kernel_width * dilation_width;
            if (y < 0 || z < 0 || y % stride_height || z % stride_width) continue;
            y /= stride_height, z /= stride_width;
            if (y >= out_height || z >= out_width) continue;
            Index window = (image * out_height + y) * out_width + z;
            Index group = window * groups + channel / depth;
            total += load(columns[(group * taps + tap) * depth + channel % depth]);
        }
        x[i] = store(total);
    }
}

// out (columns, rows) = x (rows, columns), by squares of 32 that are turned in shared memory: both
// reads and writes are of neighbours. A block has as many lines of 32 threads as it likes.
extern "C" __global__ void transpose(const STORAGE* x, STORAGE* out, int rows, int columns) {
    __shared__ STORAGE square[32][33];
    int lane = threadIdx.x % 32, line = threadIdx.x / 32, lines = blockDim.x / 32;
    int across = (columns + 31) / 32, squares = across * ((rows + 31) / 32);
    for (int s = blockIdx.x; s < squares; s += gridDim.x) {
        int row = s / across * 32, column = s % across * 32;
        for (int k = line; k < 32; k += lines)
            if (row + k < rows && column + lane < columns)
                square[k][lane] = x[(Index)(row + k) * columns + column + lane];
        __syncthreads();
        for (int k = line; k < 32; k += lines)
            if (column + k < columns && row + lane < rows)
                out[(Index)(column + k) * rows + row + lane] = square[lane][k];
        __syncthreads();
    }
}
