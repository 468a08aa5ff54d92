// What every kernel begins with. STORAGE is what arrays hold, ACCUM what is computed with: float for
// the three short types, double for double. Arrays are C-contiguous, images (N, H, W, C).
// No warp intrinsics: threads of a block meet in shared memory alone, so that the same source runs
// on the host, one system thread for each of a block's.

typedef long long Index;

#if defined(STORAGE_HALF)
#include <cuda_fp16.h>
typedef __half STORAGE;
__device__ inline float load(STORAGE value) { return __half2float(value); }
__device__ inline STORAGE store(float value) { return __float2half(value); }
#elif defined(STORAGE_BFLOAT16)
#include <cuda_bf16.h>
typedef __nv_bfloat16 STORAGE;
__device__ inline float load(STORAGE value) { return __bfloat162float(value); }
__device__ inline STORAGE store(float value) { return __float2bfloat16(value); }
#else
typedef ACCUM STORAGE;
__device__ inline ACCUM load(STORAGE value) { return value; }
__device__ inline STORAGE store(ACCUM value) { return value; }
#endif

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#define LOWEST (-(ACCUM)INFINITY)
#define THIS_THREAD ((Index)blockIdx.x * blockDim.x + threadIdx.x)
#define ALL_THREADS ((Index)gridDim.x * blockDim.x)

// Quotient and rest of a place among the elements. In 64 bits a division takes five times as many
// instructions, and most arrays do not need them.
__device__ inline Index quotient(Index i, int n) {
    return i >> 32 ? i / n : (Index)((unsigned)i / (unsigned)n);
}
__device__ inline int rest(Index i, int n) {
    return (int)(i >> 32 ? i % n : (Index)((unsigned)i % (unsigned)n));
}

#define FOR_EACH(i, count) for (Index i = THIS_THREAD; i < (count); i += ALL_THREADS)

// W neighbours of an array: one, or the 16 bytes that they fill, moved at once.
template <int W> struct alignas(W == 1 ? sizeof(STORAGE) : 16) Pack { STORAGE at[W]; };
template <int W> __device__ inline Pack<W> fetch(const STORAGE* from) {
    return *(const Pack<W>*)from;
}
template <int W> __device__ inline void put(STORAGE* to, const Pack<W>& pack) {
    *(Pack<W>*)to = pack;
}

// Reductions: a block is *lanes* neighbours (a power of two) wide, and has lines of these.
#define BLOCK 256
#define PLACE                                                                                   \
    int lane = threadIdx.x % lanes, line = threadIdx.x / lanes, lines = blockDim.x / lanes;

