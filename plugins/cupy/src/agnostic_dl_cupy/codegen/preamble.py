"""What every generated kernel begins with: the operations, as CUDA computes them.

Those of which NumPy's result is determined to the bit are PTX instructions that round once, to
nearest, and keep subnormal numbers: sums, products, quotients and roots, signs, comparisons, whole
numbers, casts. So no option of a compiler (CuPy passes -ftz=true to all kernels) contracts a
product and a sum into one rounding or flushes anything to zero. exp, log and their kin are CUDA's:
a few units in the last place from the host's, and a subnormal float32 is zero to them. No header is
included: a kernel compiles wherever NVRTC is, which knows few builtin functions of host compilers.
"""

from __future__ import annotations

_ROUNDED = """
static __device__ __forceinline__ {t} op_{name}({t} x, {t} y) {{
  {t} r; asm("{ptx}.{s} %0, %1, %2;" : "={c}"(r) : "{c}"(x), "{c}"(y)); return r; }}"""
_OF_ONE = """
static __device__ __forceinline__ {t} op_{name}({t} x) {{
  {t} r; asm("{ptx}.{s} %0, %1;" : "={c}"(r) : "{c}"(x)); return r; }}"""
_ASKED = """
static __device__ __forceinline__ bool op_{name}({t} x, {t} y) {{
  unsigned r;
  asm("{{ .reg .pred p; setp.{ptx}.{s} p, %1, %2; selp.u32 %0, 1, 0, p; }}"
      : "=r"(r) : "{c}"(x), "{c}"(y));
  return r; }}"""
_KINDS = ({"t": "float", "s": "f32", "c": "f"}, {"t": "double", "s": "f64", "c": "d"})
#: Form → operation → the PTX instruction.
_PTX = {
    _ROUNDED: {"add": "add.rn", "subtract": "sub.rn", "multiply": "mul.rn", "divide": "div.rn"},
    _OF_ONE: {
        "sqrt": "sqrt.rn", "negative": "neg", "abs": "abs", "floor": "cvt.rmi.{s}",
        "ceil": "cvt.rpi.{s}", "trunc": "cvt.rzi.{s}", "round": "cvt.rni.{s}",
    },
    _ASKED: {
        "equal": "eq", "not_equal": "neu", "less": "lt", "less_equal": "le", "greater": "gt",
        "greater_equal": "ge",
    },
}  # fmt: skip

_CUDA = """
static __device__ __forceinline__ double to_double(float x) {
  double r; asm("cvt.f64.f32 %0, %1;" : "=d"(r) : "f"(x)); return r; }
static __device__ __forceinline__ float to_float(double x) {
  float r; asm("cvt.rn.f32.f64 %0, %1;" : "=f"(r) : "d"(x)); return r; }
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
#define INFINITE __int_as_float(0x7f800000)
#define NOT_A_NUMBER __int_as_float(0x7fffffff)
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
EACH float to_float(float x) { return x; }
EACH float to_float(bool x) { return x; }
EACH double to_double(double x) { return x; }
EACH double to_double(bool x) { return x; }
EACH bool to_bool(float x) { return op_not_equal(x, 0.0f); }
EACH bool to_bool(double x) { return op_not_equal(x, 0.0); }
EACH bool to_bool(bool x) { return x; }
EACH float round_float16(float x) { Float16 r; store(x, r); return load(r); }
EACH float round_bfloat16(float x) { BFloat16 r; store(x, r); return load(r); }
template <class T> EACH T op_infinity() { return (T)INFINITE; }
template <class T> EACH T op_nan() { return (T)NOT_A_NUMBER; }
template <class T> EACH T op_square(T x) { return op_multiply(x, x); }
template <class T> EACH T op_reciprocal(T x) { return op_divide((T)1, x); }
template <class T> EACH bool op_isnan(T x) { return op_not_equal(x, x); }
template <class T> EACH T op_positive(T x) { return x; }
template <class T> EACH T op_maximum(T x, T y) {
  return op_greater_equal(x, y) || op_isnan(x) ? x : y; }
template <class T> EACH T op_minimum(T x, T y) {
  return op_less_equal(x, y) || op_isnan(x) ? x : y; }
template <class T> EACH T op_relu(T x) { return op_greater(x, (T)0) || op_isnan(x) ? x : (T)0; }
template <class T> EACH T op_relu_grad(T g, T out) { return op_greater(out, (T)0) ? g : (T)0; }
template <class T> EACH T op_sign(T x) {
  const T found = (T)(op_greater(x, (T)0) - op_less(x, (T)0));
  return op_isnan(x) ? x : found; }
template <class T> EACH T op_sigmoid(T x) {
  return op_multiply(op_add((T)tanh(op_multiply(x, (T)0.5)), (T)1), (T)0.5); }
template <class T> EACH T op_logaddexp(T x, T y) {
  if (op_equal(x, y)) return op_add(x, (T)log((T)2));
  T gap = op_subtract(x, y);
  return op_greater(gap, (T)0) ? op_add(x, (T)log1p(exp(op_negative(gap))))
       : op_less_equal(gap, (T)0) ? op_add(y, (T)log1p(exp(gap))) : gap; }
#define ONE(name, f) template <class T> EACH T op_##name(T x) { return (T)f(x); }
#define TWO(name, f) template <class T> EACH T op_##name(T x, T y) { return (T)f(x, y); }
ONE(exp, exp) ONE(expm1, expm1) ONE(log, log) ONE(log1p, log1p) ONE(log2, log2) ONE(log10, log10)
ONE(sin, sin) ONE(cos, cos) ONE(tan, tan)
ONE(asin, asin) ONE(acos, acos) ONE(atan, atan) ONE(sinh, sinh) ONE(cosh, cosh) ONE(tanh, tanh)
ONE(asinh, asinh) ONE(acosh, acosh) ONE(atanh, atanh) TWO(atan2, atan2) TWO(pow, pow)
TWO(hypot, hypot) TWO(copysign, copysign)
template <class T> EACH bool op_isinf(T x) { return op_equal(op_abs(x), op_infinity<T>()); }
template <class T> EACH bool op_isfinite(T x) { return op_less(op_abs(x), op_infinity<T>()); }
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
    made = "".join(
        form.format(name=name, ptx=ptx.format(**kind), **kind)
        for form, names in _PTX.items() for name, ptx in names.items() for kind in _KINDS
    )  # fmt: skip
    return _CUDA + made + "\n" + SHARED
