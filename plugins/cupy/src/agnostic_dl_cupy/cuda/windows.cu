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
        int inner = (int)(i % depth), tap = (int)(i / depth % taps);
        int group = (int)(i / depth / taps % groups);
        Index window = i / depth / taps / groups;
        int z = (int)(window % out_width) * stride_width + tap % kernel_width * dilation_width;
        int y = (int)(window / out_width % out_height) * stride_height +
                tap / kernel_width * dilation_height;
        Index image = window / out_width / out_height;
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
        int channel = (int)(i % channels), column = (int)(i / channels % width);
        int row = (int)(i / channels / width % height);
        Index image = i / channels / width / height;
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

#define TILE 16

// out (columns, rows) = x (rows, columns), by tiles in shared memory: blocks of TILE · TILE.
extern "C" __global__ void transpose(const STORAGE* x, STORAGE* out, int rows, int columns) {
    __shared__ STORAGE tile[TILE][TILE + 1];
    int a = threadIdx.x / TILE, b = threadIdx.x % TILE;
    int row = blockIdx.x * TILE + a, column = blockIdx.y * TILE + b;
    if (row < rows && column < columns) tile[a][b] = x[(Index)row * columns + column];
    __syncthreads();
    row = blockIdx.x * TILE + b, column = blockIdx.y * TILE + a;
    if (row < rows && column < columns) out[(Index)column * rows + row] = tile[b][a];
    __syncthreads();
}
