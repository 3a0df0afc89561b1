#include "sketch_newton/precondition.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.hpp"

namespace fastopt {
namespace {

constexpr double eps = std::numeric_limits<double>::epsilon();

double euclid(const std::vector<double>& v) {
    double unit = 0, sum = 0;
    for (double x : v) unit = std::fmax(unit, std::fabs(x));
    if (unit == 0 || !std::isfinite(unit)) return unit;
    for (double x : v) sum += (x / unit) * (x / unit);
    return unit * std::sqrt(sum);
}

void scale(std::vector<double>& v, double by) {
    for (double& x : v) x *= by;
}

} // namespace

LeastSquaresSolver::LeastSquaresSolver(const DataMatrix<double>& a,
                                       const LeastSquaresOptions& options)
    : a_(a), o_(options) {
    const index_t n = a.cols;
    FASTOPT_REQUIRE(n >= 1 && a.rows >= n, "A must have at least as many rows as columns");
    if (o_.sketch.size == 0) o_.sketch.size = std::max<index_t>(4 * n, 8);
    FASTOPT_REQUIRE(o_.sketch.size >= n, "sketch_size must be at least the number of columns");
    std::vector<double> probabilities;
    if (o_.sketch.kind == SketchKind::leverage || o_.sketch.kind == SketchKind::less) {
        probabilities = row_probabilities<double>(a, nullptr, o_.sketch);
        o_.sketch.probabilities = probabilities.data();
    }
    Buffer<double> sa(checked_product(o_.sketch.size, n));
    sketch<double>(a, nullptr, o_.sketch, sa.data());
    o_.sketch.probabilities = nullptr;
    geqrf(o_.sketch.size, n, sa.data(), n);
    l_ = Buffer<double>(n * n);
    double largest = 0, least = std::numeric_limits<double>::infinity();
    for (index_t i = 0; i < n; ++i) {
        for (index_t j = i; j < n; ++j) l_[j * n + i] = sa[i * n + j];
        largest = std::fmax(largest, std::fabs(l_[i * n + i]));
        least = std::fmin(least, std::fabs(l_[i * n + i]));
    }
    rank_ = n;
    if (least > 1e-10 * largest) return;
    // Singular values of R from the eigenvalues +-sigma of [[0, R'], [R, 0]]; V from the
    // eigenvectors.
    const index_t size = 2 * n;
    Buffer<double> both(checked_product(size, size)), values(size);
    for (index_t i = 0; i < n; ++i)
        for (index_t j = i; j < n; ++j) both[(n + i) * size + j] = sa[i * n + j];
    if (!syev(size, both.data(), size, values.data()))
        throw BackendError("the sketch of A is not finite: scale A");
    rank_ = 0;
    while (rank_ < n && values[size - 1 - rank_] > o_.rcond * values[size - 1]) ++rank_;
    l_ = Buffer<double>();
    n_ = Buffer<double>(n * std::max<index_t>(rank_, 1));
    for (index_t k = 0; k < rank_; ++k) {
        const double* vector = both.data() + (size - 1 - k) * size;
        const double factor = std::sqrt(2.0) / values[size - 1 - k];
        for (index_t i = 0; i < n; ++i) n_[i * rank_ + k] = factor * vector[i];
    }
}

void LeastSquaresSolver::precondition(const double* y, double* x) const {
    if (l_.size() == 0)
        return gemv<double>(false, a_.cols, rank_, 1.0, n_.data(), rank_, y, 0.0, x);
    std::copy_n(y, a_.cols, x);
    trsm(true, true, a_.cols, 1, l_.data(), a_.cols, x, 1);
}

void LeastSquaresSolver::precondition_transposed(const double* x, double* y) const {
    if (l_.size() == 0) return gemv<double>(true, a_.cols, rank_, 1.0, n_.data(), rank_, x, 0.0, y);
    std::copy_n(x, a_.cols, y);
    trsm(true, false, a_.cols, 1, l_.data(), a_.cols, y, 1);
}

// LSQR (Paige, Saunders, 1982) for min |A N y - rest|; x += N y, rest -= A N y. Each iteration
// reads A twice.
index_t LeastSquaresSolver::refine(std::vector<double>& rest, double* x, bool& converged) const {
    const index_t n = a_.cols, m = a_.rows;
    const int threads = o_.sketch.threads;
    std::vector<double> u(rest), v(rank_), w(rank_), y(rank_, 0.0), xn(n), am(m), step(rank_);
    double beta = euclid(u);
    converged = true;
    if (beta == 0 || rank_ == 0) return 0;
    scale(u, 1 / beta);
    multiply_transposed(a_, u.data(), xn.data(), threads);
    precondition_transposed(xn.data(), v.data());
    double alpha = euclid(v);
    if (alpha <= eps) return 0;
    scale(v, 1 / alpha);
    w = v;
    double phi = beta, rho = alpha;
    const double first = beta;
    index_t k = 0;
    converged = false;
    while (k < o_.maxiter) {
        ++k;
        precondition(v.data(), xn.data());
        multiply(a_, xn.data(), am.data(), threads);
        for (index_t i = 0; i < m; ++i) u[i] = am[i] - alpha * u[i];
        beta = euclid(u);
        if (beta > 0) scale(u, 1 / beta);
        multiply_transposed(a_, u.data(), xn.data(), threads);
        precondition_transposed(xn.data(), step.data());
        for (index_t i = 0; i < rank_; ++i) v[i] = step[i] - beta * v[i];
        alpha = euclid(v);
        if (alpha > 0) scale(v, 1 / alpha);
        const double r = std::hypot(rho, beta), c = rho / r, s = beta / r, theta = s * alpha;
        const double move = c * phi / r;
        rho = -c * alpha, phi *= s;
        for (index_t i = 0; i < rank_; ++i) {
            y[i] += move * w[i];
            w[i] = v[i] - theta / r * w[i];
        }
        const double size = euclid(y);
        // |(A N)'r| = phi alpha |c|; |A N| is about one.
        const double change = std::fabs(phi * alpha * c);
        if (change <= 4 * eps * std::fmax(size, phi) || phi <= 4 * eps * first || alpha == 0 ||
            beta == 0) {
            converged = true;
            break;
        }
    }
    precondition(y.data(), xn.data());
    for (index_t i = 0; i < n; ++i) x[i] += xn[i];
    return k;
}

LeastSquares LeastSquaresSolver::solve(const double* b) const {
    LeastSquares out;
    const index_t n = a_.cols, m = a_.rows;
    const int threads = o_.sketch.threads;
    out.x.assign(static_cast<std::size_t>(n), 0.0);
    out.rank = rank_, out.sketch_rows = o_.sketch.size;
    std::vector<double> rest(b, b + m), ax(m), gradient(n);
    const auto residual = [&] {
        multiply(a_, out.x.data(), ax.data(), threads);
        for (index_t i = 0; i < m; ++i) rest[i] = b[i] - ax[i];
    };
    for (int round = 0; round < 2; ++round) {
        out.iterations += refine(rest, out.x.data(), out.converged);
        residual();
    }
    multiply_transposed(a_, rest.data(), gradient.data(), threads);
    out.residual = euclid(rest), out.gradient = euclid(gradient);
    return out;
}

} // namespace fastopt
