#include <algorithm>
#include <cmath>
#include <limits>

#include "core/random.hpp"
#include "sketch_newton/newton_parts.hpp"

namespace fastopt {
namespace {

constexpr index_t most_vectors = 100;
constexpr double dependent = 1e-12; // of the eigenvalues of J J'
enum Stream : std::uint32_t { lanczos_start = 56 };

// Orthonormal rows that span those of J (m x n); their number becomes `rank`.
Buffer<double> row_space(index_t n, index_t m, const double* j, index_t& rank) {
    rank = 0;
    if (m == 0) return {};
    Buffer<double> jj(m * m), values(m), v(m * n),
        unit(m * n); // rows of unit size overflow nowhere
    for (index_t i = 0; i < m; ++i) {
        double largest = 0;
        for (index_t k = 0; k < n; ++k) largest = std::fmax(largest, std::fabs(j[i * n + k]));
        for (index_t k = 0; largest > 0 && k < n; ++k) unit[i * n + k] = j[i * n + k] / largest;
    }
    gemm<double>(false, true, m, m, n, 1.0, unit.data(), n, unit.data(), n, 0.0, jj.data(), m);
    if (!syev(m, jj.data(), m, values.data())) return {};
    for (index_t i = m - 1; i >= 0 && rank < n && values[i] > dependent * values[m - 1]; --i) {
        double* row = v.data() + rank++ * n;
        gemv<double>(true, m, n, 1 / std::sqrt(values[i]), unit.data(), n, jj.data() + i * m, 0.0,
                     row);
    }
    return v;
}

// v -= B'B v for the `rows` orthonormal rows of B, twice for the digits that the first pass loses.
void project_out(const Buffer<double>& b, index_t rows, index_t n, std::vector<double>& v) {
    if (rows == 0) return;
    std::vector<double> bv(static_cast<std::size_t>(rows));
    for (int pass = 0; pass < 2; ++pass) {
        gemv<double>(false, rows, n, 1.0, b.data(), n, v.data(), 0.0, bv.data());
        gemv<double>(true, rows, n, -1.0, b.data(), n, bv.data(), 1.0, v.data());
    }
}

} // namespace

LeastCurvature least_curvature(index_t n, index_t m, const double* j,
                               const std::function<void(const double*, double*)>& multiply,
                               NewtonMonitor& monitor) {
    index_t rank = 0;
    const Buffer<double> rows = row_space(n, m, j, rank);
    const index_t most = std::min(most_vectors, n - rank);
    LeastCurvature out;
    out.value = std::numeric_limits<double>::infinity();
    if (most <= 0) return out;
    Buffer<double> q(most * n), wq(most * n);
    std::vector<double> v(static_cast<std::size_t>(n));
    fill_normal(v.data(), 0, n, {{0, 0}, 0, lanczos_start});
    index_t k = 0;
    for (; k < most; ++k) {
        monitor.poll();
        const double before = norm(v);
        project_out(rows, rank, n, v);
        project_out(q, k, n, v);
        const double length = norm(v);
        if (!(length > 1e-8 * before)) break; // an invariant subspace
        for (index_t i = 0; i < n; ++i) q[k * n + i] = v[i] / length;
        multiply(q.data() + k * n, wq.data() + k * n);
        std::copy_n(wq.data() + k * n, n, v.data());
        if (!finite(v)) return out;
    }
    if (k == 0) return out;
    Buffer<double> t(k * k), values(k);
    gemm<double>(false, true, k, k, n, 1.0, q.data(), n, wq.data(), n, 0.0, t.data(), k);
    if (!syev(k, t.data(), k, values.data())) return out; // W overflows
    out.value = values[0];
    out.largest = std::fmax(std::fabs(values[0]), std::fabs(values[k - 1]));
    out.v.assign(static_cast<std::size_t>(n), 0.0);
    gemv<double>(true, k, n, 1.0, q.data(), n, t.data(), 0.0, out.v.data());
    return out;
}

} // namespace fastopt
