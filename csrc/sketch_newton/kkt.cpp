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
    const index_t n = k.n, size = k.size();
    if (w_.size() != n * n) w_ = Buffer<double>(checked_product(n, n)), same = false;
    if (!same) form(*k.w, n, threads_, w_.data());
    if (factor_.size() != size * size) {
        factor_ = Buffer<double>(checked_product(size, size));
        pivots_.resize(static_cast<std::size_t>(size));
    }
    k_ = k;
    full_kkt(k, w_.data(), factor_.data());
    double largest = 0;
    for (index_t i = 0; i < size * size; ++i) {
        if (!std::isfinite(factor_[i])) return Shape::not_finite;
    }
    equilibrate();
    for (index_t i = 0; i < size * size; ++i) largest = std::fmax(largest, std::fabs(factor_[i]));
    sytrf(size, factor_.data(), size, pivots_.data());
    return shape(std::numeric_limits<double>::epsilon() * static_cast<double>(size) * largest);
}

// Rows of one size: what counts as a zero pivot beside the largest entry then does not depend on
// the units of x and c, or on how large a shift has become. (Congruence keeps the inertia.)
void LdlSolver::equilibrate() {
    const index_t size = k_.size();
    scale_.assign(static_cast<std::size_t>(size), 1.0);
    std::vector<double> change(scale_.size());
    for (int pass = 0; pass < 3; ++pass) {
        bool even = true;
        for (index_t i = 0; i < size; ++i) {
            const double* row = factor_.data() + i * size;
            double largest = 0;
            for (index_t j = 0; j < size; ++j) largest = std::fmax(largest, std::fabs(row[j]));
            int exponent = 0;
            std::frexp(largest, &exponent);
            change[i] = largest > 0 ? std::ldexp(1.0, -exponent / 2) : 1.0;
            even = even && change[i] == 1.0;
        }
        if (even) break;
        for (index_t i = 0; i < size; ++i) {
            scale_[i] *= change[i];
            double* row = factor_.data() + i * size;
            for (index_t j = 0; j < size; ++j) row[j] *= change[i] * change[j];
        }
    }
}

Shape LdlSolver::shape(double zero) const {
    const index_t size = k_.size();
    index_t negative = 0, null = 0;
    const auto count = [&](double eigenvalue) {
        negative += eigenvalue < -zero;
        null += std::fabs(eigenvalue) <= zero;
    };
    for (index_t i = size - 1; i >= 0; --i) {
        if (pivots_[i] > 0) {
            count(factor_[i * size + i]);
            continue;
        }
        const double a = factor_[(i - 1) * size + i - 1], b = factor_[i * size + i - 1],
                     c = factor_[i * size + i];
        const double middle = 0.5 * (a + c), radius = std::hypot(0.5 * (a - c), b);
        count(middle + radius), count(middle - radius);
        --i;
    }
    if (null > 0 || negative < k_.m) return Shape::singular;
    return negative > k_.m ? Shape::indefinite : Shape::right;
}

Shape LdlSolver::solve(const double* r, double, double* d) {
    const index_t size = k_.size(), n = k_.n;
    const double wanted = 1e-14 * euclid(r, size);
    std::vector<double> rest(static_cast<std::size_t>(size)), kd(rest.size());
    for (index_t i = 0; i < size; ++i) d[i] = 0, rest[i] = -r[i];
    for (int pass = 0; pass < 3; ++pass) { // one solve and at most two refinements
        for (index_t i = 0; i < size; ++i) rest[i] *= scale_[i];
        sytrs(size, factor_.data(), size, pivots_.data(), rest.data());
        for (index_t i = 0; i < size; ++i) d[i] += scale_[i] * rest[i];
        if (pass == 2) break;
        gemv<double>(false, n, n, 1.0, w_.data(), n, d, 0.0, kd.data());
        for (index_t i = 0; i < n; ++i) kd[i] += k_.dw * d[i];
        if (k_.m > 0) {
            gemv<double>(true, k_.m, n, 1.0, k_.j, n, d + n, 1.0, kd.data());
            gemv<double>(false, k_.m, n, 1.0, k_.j, n, d, 0.0, kd.data() + n);
        }
        for (index_t i = 0; i < k_.m; ++i) kd[n + i] -= k_.dc * d[n + i];
        for (index_t i = 0; i < size; ++i) rest[i] = -r[i] - kd[i];
        if (!(euclid(rest.data(), size) > wanted)) break;
    }
    return Shape::right;
}

std::unique_ptr<KktSolver> make_solver(LinearSolver solver, const KktOptions& o) {
    switch (solver) {
    case LinearSolver::sketch_pcg:
        return std::make_unique<SketchPcg>(o);
    case LinearSolver::nystrom_pcg:
        return std::make_unique<NystromPcg>(o);
    case LinearSolver::minres:
        return std::make_unique<Minres>();
    case LinearSolver::kaczmarz:
    case LinearSolver::gaussian:
    case LinearSolver::countsketch:
    case LinearSolver::block:
        return std::make_unique<SketchAndProject>(solver, o);
    default:
        return std::make_unique<LdlSolver>(o.threads);
    }
}

} // namespace fastopt
