// CUDA's words on the host: a block's threads are system threads that meet at a barrier, or, where
// the kernel never meets, turns of a loop. Blocks run one after the other.
#include <barrier>
#include <cmath>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

struct Three { unsigned x, y, z; };
static thread_local Three threadIdx;
static Three blockIdx, blockDim, gridDim;
static std::barrier<>* meeting;

#define __global__
#define __device__
#define __grid_constant__
#define __shared__ static
#define __syncthreads() meeting->arrive_and_wait()
using std::exp;
using std::log;
using std::sqrt;

// bfloat16 by hand: the upper half of a float, rounded to even.
struct __nv_bfloat16 { unsigned short bits; };
static inline float __bfloat162float(__nv_bfloat16 value) {
    unsigned word = (unsigned)value.bits << 16;
    float out;
    std::memcpy(&out, &word, 4);
    return out;
}
static inline __nv_bfloat16 __float2bfloat16(float value) {
    unsigned word;
    std::memcpy(&word, &value, 4);
    if (value != value) return {0x7fc0};
    return {(unsigned short)((word + 0x7fff + ((word >> 16) & 1)) >> 16)};
}

// float16: the compiler's own, which rounds to even as CUDA's conversion does.
struct __half { unsigned short bits; };
static inline float __half2float(__half value) {
    _Float16 out;
    std::memcpy(&out, &value, 2);
    return (float)out;
}
static inline __half __float2half(float value) {
    _Float16 rounded = (_Float16)value;
    __half out;
    std::memcpy(&out, &rounded, 2);
    return out;
}

template <class Body> static void each_block(Body body) {
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) body();
}

template <class... A, size_t... I>
static void launch(void (*kernel)(A...), const unsigned* sizes, bool meets, void** arguments,
                   std::index_sequence<I...>) {
    gridDim = {sizes[0], sizes[1], 1}, blockDim = {sizes[2], 1, 1};
    auto run = [&](unsigned thread) {
        threadIdx = {thread, 0, 0};
        kernel(*static_cast<std::remove_const_t<A>*>(arguments[I])...);
    };
    if (!meets)
        return each_block([&] { for (unsigned t = 0; t < sizes[2]; t++) run(t); });
    std::barrier<> barrier(sizes[2]);
    meeting = &barrier;
    each_block([&] {
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < sizes[2]; t++) threads.emplace_back(run, t);
        for (auto& thread : threads) thread.join();
    });
}

template <class... A>
static void start(void (*kernel)(A...), const unsigned* sizes, bool meets, void** arguments) {
    launch(kernel, sizes, meets, arguments, std::index_sequence_for<A...>{});
}
