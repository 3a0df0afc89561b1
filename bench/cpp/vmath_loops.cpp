#include "vmath_loops.hpp"

#include "core/vmath.hpp"

namespace fastopt {
namespace FASTOPT_LEVEL {
namespace {

template <class T> void log_loop(const T* FASTOPT_RESTRICT x, index_t n, T* FASTOPT_RESTRICT y) {
    for (index_t i = 0; i < n; ++i) y[i] = vlog(x[i]);
}
template <class T> void exp_loop(const T* FASTOPT_RESTRICT x, index_t n, T* FASTOPT_RESTRICT y) {
    for (index_t i = 0; i < n; ++i) y[i] = vexp(-x[i]);
}
template <class T> void sinpi_loop(const T* FASTOPT_RESTRICT x, index_t n, T* FASTOPT_RESTRICT y) {
    for (index_t i = 0; i < n; ++i) y[i] = vsinpi(x[i]);
}
template <class T> void cospi_loop(const T* FASTOPT_RESTRICT x, index_t n, T* FASTOPT_RESTRICT y) {
    for (index_t i = 0; i < n; ++i) y[i] = vcospi(x[i]);
}
template <class T>
void sincospi_loop(const T* FASTOPT_RESTRICT x, index_t n, T* FASTOPT_RESTRICT y) {
    for (index_t i = 0; i < n; ++i) {
        T s, c;
        vsincospi(x[i], s, c);
        y[i] = s * c;
    }
}
template <class T> void sqrt_loop(const T* FASTOPT_RESTRICT x, index_t n, T* FASTOPT_RESTRICT y) {
    for (index_t i = 0; i < n; ++i) y[i] = vsqrt(x[i]);
}

template <class T> constexpr VmathLoops<T> loops() {
    return {log_loop<T>, exp_loop<T>, sinpi_loop<T>, cospi_loop<T>, sincospi_loop<T>, sqrt_loop<T>};
}

} // namespace

extern const VmathTables vmath_tables;
const VmathTables vmath_tables = {loops<double>(), loops<float>()};

} // namespace FASTOPT_LEVEL
} // namespace fastopt
