"""What every generated kernel begins with: the operations, as CUDA computes them.

Sums, products, quotients and roots are written as PTX instructions that round once, to nearest, and
keep subnormal numbers. So no option of a compiler (CuPy's own passes -ftz=true to all kernels)
contracts a product and a sum into one rounding or flushes anything to zero, and they are the
numbers that NumPy has, to the bit. exp, log and their kin are CUDA's, a few units in the last place
from the host's. No header is included: a kernel compiles wherever NVRTC is.
"""

from __future__ import annotations

_ROUNDED = """
static __device__ __forceinline__ {t} op_{name}({t} x, {t} y) {{
  {t} r; asm("{ptx}.{s} %0, %1, %2;" : "={c}"(r) : "{c}"(x), "{c}"(y)); return r; }}"""
_ROOT = """
static __device__ __forceinline__ {t} op_sqrt({t} x) {{
  {t} r; asm("sqrt.rn.{s} %0, %1;" : "={c}"(r) : "{c}"(x)); return r; }}"""
_KINDS = ({"t": "float", "s": "f32", "c": "f"}, {"t": "double", "s": "f64", "c": "d"})
_PTX = {"add": "add.rn", "subtract": "sub.rn", "multiply": "mul.rn", "divide": "div.rn"}

_HALVES = """
struct Float16 { unsigned short bits; };
struct BFloat16 { unsigned short bits; };
static __device__ __forceinline__ float load(Float16 x) {
  float r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x.bits)); return r; }
static __device__ __forceinline__ float load(BFloat16 x) {
  return __uint_as_float((unsigned int)x.bits << 16); }
static __device__ __forceinline__ void store(float x, Float16& to) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(x)); }
static __device__ __forceinline__ void store(float x, BFloat16& to) {
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to.bits) : "f"(x)); }
#define EACH static __device__ __forceinline__
#define KERNEL extern "C" __global__ void
"""

#: What CUDA and the host's compiler (in the tests) have in common; EACH marks a function.
SHARED = """
EACH float load(float x) { return x; }
EACH double load(double x) { return x; }
EACH bool load(unsigned char x) { return x != 0; }
EACH void store(float x, float& to) { to = x; }
EACH void store(double x, double& to) { to = x; }
EACH void store(bool x, unsigned char& to) { to = x; }
EACH float round_float16(float x) { Float16 r; store(x, r); return load(r); }
EACH float round_bfloat16(float x) { BFloat16 r; store(x, r); return load(r); }
template <class T> EACH T op_infinity() { return (T)__builtin_huge_val(); }
template <class T> EACH T op_nan() { return (T)__builtin_nan(""); }
template <class T> EACH T op_square(T x) { return op_multiply(x, x); }
template <class T> EACH T op_reciprocal(T x) { return op_divide((T)1, x); }
template <class T> EACH T op_negative(T x) { return -x; }
template <class T> EACH T op_positive(T x) { return x; }
template <class T> EACH T op_abs(T x) { return fabs(x); }
template <class T> EACH T op_maximum(T x, T y) { return x >= y || x != x ? x : y; }
template <class T> EACH T op_minimum(T x, T y) { return x <= y || x != x ? x : y; }
template <class T> EACH T op_relu(T x) { return x > (T)0 || x != x ? x : (T)0; }
template <class T> EACH T op_relu_grad(T g, T out) { return out > (T)0 ? g : (T)0; }
template <class T> EACH T op_sign(T x) {
  const T found = (T)((x > (T)0) - (x < (T)0));
  return x == x ? found : x; }
template <class T> EACH T op_round(T x) { return rint(x); }
template <class T> EACH T op_sigmoid(T x) {
  return op_multiply(op_add((T)tanh(op_multiply(x, (T)0.5)), (T)1), (T)0.5); }
template <class T> EACH T op_logaddexp(T x, T y) {
  if (x == y) return op_add(x, (T)log((T)2));
  T gap = op_subtract(x, y);
  return gap > (T)0 ? op_add(x, (T)log1p(exp(-gap)))
       : gap <= (T)0 ? op_add(y, (T)log1p(exp(gap))) : gap; }
#define ONE(name, f) template <class T> EACH T op_##name(T x) { return (T)f(x); }
#define TWO(name, f) template <class T> EACH T op_##name(T x, T y) { return (T)f(x, y); }
ONE(floor, floor) ONE(ceil, ceil) ONE(trunc, trunc) ONE(exp, exp) ONE(expm1, expm1) ONE(log, log)
ONE(log1p, log1p) ONE(log2, log2) ONE(log10, log10) ONE(sin, sin) ONE(cos, cos) ONE(tan, tan)
ONE(asin, asin) ONE(acos, acos) ONE(atan, atan) ONE(sinh, sinh) ONE(cosh, cosh) ONE(tanh, tanh)
ONE(asinh, asinh) ONE(acosh, acosh) ONE(atanh, atanh) TWO(atan2, atan2) TWO(pow, pow)
TWO(hypot, hypot) TWO(copysign, copysign)
#define ASK(name, test) template <class T> EACH bool op_##name(T x, T y) { return test; }
ASK(equal, x == y) ASK(not_equal, x != y) ASK(less, x < y) ASK(less_equal, x <= y)
ASK(greater, x > y) ASK(greater_equal, x >= y)
template <class T> EACH bool op_isnan(T x) { return x != x; }
template <class T> EACH bool op_isinf(T x) { return fabs(x) == op_infinity<T>(); }
template <class T> EACH bool op_isfinite(T x) { return fabs(x) < op_infinity<T>(); }
template <class T> EACH bool op_signbit(T x) { return signbit(x); }
EACH bool op_logical_and(bool x, bool y) { return x && y; }
EACH bool op_logical_or(bool x, bool y) { return x || y; }
EACH bool op_logical_xor(bool x, bool y) { return x != y; }
EACH bool op_logical_not(bool x) { return !x; }
// Four elements, moved at once: 16 bytes of float32.
template <class T> struct alignas(sizeof(T) * 4 > 16 ? 16 : sizeof(T) * 4) Four { T at[4]; };
"""


def preamble() -> str:
    """The text before a generated kernel."""
    rounded = "".join(
        _ROUNDED.format(name=name, ptx=ptx, **kind) for name, ptx in _PTX.items() for kind in _KINDS
    )
    roots = "".join(_ROOT.format(**kind) for kind in _KINDS)
    return _HALVES + rounded + roots + "\n" + SHARED
