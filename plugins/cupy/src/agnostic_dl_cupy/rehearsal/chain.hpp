// What a generated kernel needs of CUDA, for a CPU: the body runs as a grid of one thread.
#include <cmath>
#include <cstring>
using namespace std;
#define INFINITE __builtin_huge_valf()
#define NOT_A_NUMBER __builtin_nanf("")
#define EACH static inline
#define KERNEL extern "C" void
struct Float16 { unsigned short bits; };
struct BFloat16 { unsigned short bits; };
static inline float load(Float16 x) { _Float16 h; memcpy(&h, &x, 2); return (float)h; }
static inline float load(BFloat16 x) {
  unsigned int bits = (unsigned int)x.bits << 16; float f; memcpy(&f, &bits, 4); return f; }
static inline void store(float x, Float16& to) { _Float16 h = (_Float16)x; memcpy(&to, &h, 2); }
static inline void store(float x, BFloat16& to) {
  unsigned int bits; memcpy(&bits, &x, 4);
  to.bits = x != x ? 0x7fff : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16; }
static inline float to_float(double x) { return x; }
static inline double to_double(float x) { return x; }
#define SAME(T) \
  static inline T op_add(T x, T y) { return x + y; } \
  static inline T op_subtract(T x, T y) { return x - y; } \
  static inline T op_multiply(T x, T y) { return x * y; } \
  static inline T op_divide(T x, T y) { return x / y; } \
  static inline T op_sqrt(T x) { return sqrt(x); } \
  static inline T op_negative(T x) { return -x; } \
  static inline T op_abs(T x) { return fabs(x); } \
  static inline T op_floor(T x) { return floor(x); } \
  static inline T op_ceil(T x) { return ceil(x); } \
  static inline T op_trunc(T x) { return trunc(x); } \
  static inline T op_round(T x) { return rint(x); } \
  static inline bool op_equal(T x, T y) { return x == y; } \
  static inline bool op_not_equal(T x, T y) { return x != y; } \
  static inline bool op_less(T x, T y) { return x < y; } \
  static inline bool op_less_equal(T x, T y) { return x <= y; } \
  static inline bool op_greater(T x, T y) { return x > y; } \
  static inline bool op_greater_equal(T x, T y) { return x >= y; }
SAME(float) SAME(double)
static const struct { long long x; } blockIdx = {0}, blockDim = {1}, threadIdx = {0}, gridDim = {1};
