#include "sketch_newton/kkt.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "sketch_newton/kkt_solvers.hpp"

namespace fastopt {

void KktSystem::multiply(const double* d, double* out) const {
    w->multiply(d, out);
    for (index_t i = 0; i < n; ++i) out[i] += dw * d[i];
    if (m == 0) return;
    gemv<double>(true, m, n, 1.0, j, n, d + n, 1.0, out);
    gemv<double>(false, m, n, 1.0, j, n, d, 0.0, out + n);
    for (index_t i = 0; i < m; ++i) out[n + i] -= dc * d[n + i];
}

double euclid(const double* v, index_t n) {
    double sum = 0;
    for (index_t i = 0; i < n; ++i) sum += v[i] * v[i];
    return std::sqrt(sum);
}

bool factor_schur(index_t m, double dc, double* s) {
    double largest = 0;
    for (index_t i = 0; i < m; ++i) largest = std::fmax(largest, s[i * m + i]);
    for (index_t i = 0; i < m; ++i) s[i * m + i] += dc;
    if (!potrf<double>(m, s, m)) return false;
    for (index_t i = 0; i < m; ++i) // a pivot made of rounding: dependent rows
        if (dc == 0 && !(s[i * m + i] * s[i * m + i] > 1e-13 * largest)) return false;
    return true;
}

double balance(double largest) {
    int exponent = 0;
    std::frexp(largest, &exponent);
    return largest > 0 ? std::ldexp(1.0, -exponent / 2) : 1.0;
}

void full_kkt(const KktSystem& k, const double* w, double* out) {
    const index_t n = k.n, size = k.size();
    std::fill(out, out + size * size, 0.0);
    for (index_t i = 0; i < n; ++i) {
        std::copy_n(w + i * n, n, out + i * size);
        out[i * size + i] += k.dw;
    }
    for (index_t i = 0; i < k.m; ++i) {
        for (index_t q = 0; q < n; ++q)
            out[(n + i) * size + q] = out[q * size + n + i] = k.j[i * n + q];
        out[(n + i) * size + n + i] = -k.dc;
    }
}

// ---- L D L' -----------------------------------------------------------------------------------

Shape LdlSolver::factor(const KktSystem& k, bool same) {
    m_ = k.m, size_ = k.size();
    return steps_.factor(k, same) ? shape() : Shape::not_finite;
}

Shape LdlSolver::shape() const {
    const LdlSteps::Blocks& d = steps_.blocks();
    const double zero =
        std::numeric_limits<double>::epsilon() * static_cast<double>(size_) * d.largest;
    index_t negative = 0, null = 0;
    const auto count = [&](double eigenvalue) {
        negative += eigenvalue < -zero;
        null += std::fabs(eigenvalue) <= zero;
    };
    for (index_t i = size_ - 1; i >= 0; --i) {
        if (d.pivots[i] > 0) {
            count(d.diagonal[i]);
            continue;
        }
        const double a = d.diagonal[i - 1], b = d.beside[i], c = d.diagonal[i];
        const double middle = 0.5 * (a + c), radius = std::hypot(0.5 * (a - c), b);
        count(middle + radius), count(middle - radius);
        --i;
    }
    if (null > 0 || negative < m_) return Shape::singular;
    return negative > m_ ? Shape::indefinite : Shape::right;
}

Shape LdlSolver::solve(const double* r, double, double* d) {
    steps_.solve(r, d);
    return Shape::right;
}

std::unique_ptr<KktSolver> make_solver(LinearSolver solver, const KktOptions& options) {
    KktOptions o = options;
    if (!o.queue) o.queue = make_queue();
    switch (solver) {
    case LinearSolver::sketch_pcg:
        return std::make_unique<SketchPcg>(o);
    case LinearSolver::nystrom_pcg:
        return std::make_unique<NystromPcg>(o);
    case LinearSolver::minres:
        return std::make_unique<Minres>(o);
    case LinearSolver::kaczmarz:
    case LinearSolver::gaussian:
    case LinearSolver::countsketch:
    case LinearSolver::block:
        return std::make_unique<SketchAndProject>(solver, o);
    default:
        return std::make_unique<LdlSolver>(o);
    }
}

} // namespace fastopt
