#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "core/random.hpp"
#include "sketch_newton/kkt_solvers.hpp"

namespace fastopt {
namespace {

enum Stream : std::uint32_t { nystrom_directions = 48 };

// Rates of one core, for choices between methods only: those of one process, so that ranks that
// share the rows choose as it would.
constexpr double flops = 45e9, bytes = 24e9;
constexpr double decimals = 3; // that one sketch serves, for its size

double seconds_per_pass(const DataMatrix<double>& a) {
    const double entries = static_cast<double>(a.all_entries());
    const bool cached = 8 * entries < 8e6;
    return entries * (a.sparse() ? 2e-9 : cached ? 8 / 32e9 : 8 / bytes);
}

} // namespace

// ---- constraint preconditioner ----------------------------------------------------------------

bool ConstraintPreconditioner::set(index_t n, index_t m, const double* j, double dc,
                                   Inverse inverse) {
    n_ = n, m_ = m, j_ = j, inverse_ = std::move(inverse);
    if (m == 0) return true;
    v_ = Buffer<double>(n * m), s_ = Buffer<double>(m * m);
    for (index_t i = 0; i < m; ++i)
        for (index_t k = 0; k < n; ++k) v_[k * m + i] = j[i * n + k];
    inverse_(v_.data(), m);
    gemm<double>(false, false, m, m, n, 1.0, j, n, v_.data(), m, 0.0, s_.data(), m);
    double largest = 0;
    for (index_t i = 0; i < m; ++i) largest = std::fmax(largest, s_[i * m + i]);
    for (index_t i = 0; i < m; ++i) s_[i * m + i] += dc;
    if (!potrf<double>(m, s_.data(), m)) return false;
    for (index_t i = 0; i < m; ++i) // a pivot made of rounding: dependent rows
        if (dc == 0 && !(s_[i * m + i] * s_[i * m + i] > 1e-13 * largest)) return false;
    return true;
}

void ConstraintPreconditioner::apply(const double* a, const double* b, double* z, double* y) const {
    std::copy_n(a, n_, z);
    inverse_(z, 1);
    if (m_ == 0) return;
    for (index_t i = 0; i < m_; ++i) y[i] = b ? -b[i] : 0.0;
    gemv<double>(false, m_, n_, 1.0, j_, n_, z, 1.0, y);
    potrs(m_, 1, s_.data(), m_, y, 1);
    gemv<double>(false, n_, m_, -1.0, v_.data(), m_, y, 1.0, z);
}

// ---- conjugate gradients ----------------------------------------------------------------------

// One iteration: one product with W, one application of C.
Shape ProjectedCg::solve(const double* r, double rtol, double* d) {
    const index_t n = k_.n, m = k_.m, size = n + m;
    std::vector<double> rest(size), kd(size), z(size), p(size);
    for (index_t i = 0; i < size; ++i) rest[i] = -r[i];
    const double first = euclid(r, size);
    if (first == 0) {
        std::fill(d, d + size, 0.0);
        return Shape::right;
    }
    pre_.apply(rest.data(), rest.data() + n, d, d + n);
    k_.multiply(d, kd.data());
    ++iterations;
    for (index_t i = 0; i < n; ++i) rest[i] -= kd[i];
    const double start = euclid(rest.data(), n);
    // The length of the step in the norm of P, which no scaling of x changes; the error of a Newton
    // step is measured in it too.
    double energy = 0;
    for (index_t i = 0; i < n; ++i) energy += d[i] * kd[i];
    double now = start, rz = 0;
    index_t k = 0;
    Shape shape = Shape::right;
    for (;; ++k) {
        if (k == most_ || !std::isfinite(now)) {
            shape = Shape::inaccurate;
            break;
        }
        pre_.apply(rest.data(), nullptr, z.data(), z.data() + n);
        double rz_next = 0;
        for (index_t i = 0; i < n; ++i) rz_next += rest[i] * z[i];
        if (now <= rtol * first && rz_next <= rtol * rtol * std::fabs(energy)) break;
        if (now <= 1e-15 * first) break;
        if (!(rz_next > 0)) {
            shape = k == 0 && rz_next < 0 ? Shape::indefinite : Shape::inaccurate;
            break;
        }
        const double beta = k > 0 ? rz_next / rz : 0.0;
        rz = rz_next;
        for (index_t i = 0; i < size; ++i) p[i] = z[i] + beta * p[i];
        poll();
        k_.multiply(p.data(), kd.data());
        ++iterations;
        double pkp = 0;
        for (index_t i = 0; i < n; ++i) pkp += p[i] * kd[i];
        if (!(pkp > 0)) return Shape::indefinite;
        const double alpha = rz / pkp;
        for (index_t i = 0; i < size; ++i) d[i] += alpha * p[i];
        for (index_t i = 0; i < n; ++i) rest[i] -= alpha * kd[i];
        now = euclid(rest.data(), n);
    }
    last_ = k, decimals_ = std::log10(start / std::fmax(now, 1e-300));
    return shape;
}

// ---- sketched Gram matrix ---------------------------------------------------------------------

// The size that makes sketch, S'S and the iterations that follow cheapest: PCG gains
// log10(sqrt(size / n)) decimals in each.
static index_t best_size(const DataMatrix<double>& a) {
    const double n = static_cast<double>(a.cols), pass = seconds_per_pass(a);
    index_t best = 4 * a.cols;
    double least = std::numeric_limits<double>::infinity();
    for (const double factor : {2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0}) {
        const double cost =
            factor * n * n * n / flops + decimals / std::log10(std::sqrt(factor)) * pass;
        if (factor * n > 0.7 * static_cast<double>(a.all_rows()) && factor > 2) break;
        if (cost < least) least = cost, best = static_cast<index_t>(factor * n);
    }
    return best;
}

void SketchPcg::make_sketch(const Gram& q) {
    const index_t n = q.a.cols;
    SketchOptions o;
    o.kind = o_.sketch, o.key = o_.key, o.threads = o_.threads;
    o.iteration = static_cast<std::uint64_t>(n_sketches++);
    o.size = o_.sketch_size > 0 ? o_.sketch_size : best_size(q.a);
    sketch_rows = o.size;
    std::vector<double> root(static_cast<std::size_t>(q.a.rows)), probabilities;
    for (index_t i = 0; i < q.a.rows; ++i) root[i] = std::sqrt(std::fabs(q.w[i]));
    if (o.kind == SketchKind::leverage || o.kind == SketchKind::less) {
        probabilities = row_probabilities(q.a, root.data(), o);
        o.probabilities = probabilities.data();
    }
    const Buffer<double> sa(checked_product(o.size, n));
    sketch(q.a, root.data(), o, sa.data());
    // S'S in strips, added in order
    if (gram_.size() != n * n) gram_ = Buffer<double>(checked_product(n, n));
    syrk<double>(n, o.size, 1.0, sa.data(), n, 0.0, gram_.data(), n);
    const double size = static_cast<double>(o.size), dn = static_cast<double>(n);
    cost_ = 4 + (size * dn * dn + dn * dn * dn / 3) / flops / seconds_per_pass(q.a);
}

Shape SketchPcg::factor(const KktSystem& k, bool) {
    const Gram* q = k.w->gram();
    FASTOPT_REQUIRE(q != nullptr, "linear_solver='sketch-pcg' needs a Hessian of the form "
                                  "A' diag(w) A + R (fastopt.problems.WeightedGram)");
    const index_t n = k.n;
    k_ = k;
    if (stale_) {
        make_sketch(*q);
        fresh_ = true, fresh_rate_ = waste_ = 0;
    }
    std::vector<double> diagonal(static_cast<std::size_t>(n));
    for (index_t i = 0; i < n; ++i) diagonal[i] = k.dw + (q->diagonal ? q->diagonal[i] : q->scalar);
    if (stale_ || q->dense || diagonal != diagonal_) {
        stale_ = false, diagonal_ = diagonal;
        if (p_.size() != n * n) p_ = Buffer<double>(n * n);
        std::copy_n(gram_.data(), n * n, p_.data());
        double trace = 0;
        for (index_t i = 0; i < n; ++i) trace += p_[i * n + i];
        // A ridge of rounding size lets a rank-deficient sketch factor.
        const double ridge = 1e-14 * trace / static_cast<double>(n);
        for (index_t i = 0; i < n; ++i) {
            for (index_t c = 0; q->dense && c <= i; ++c) p_[i * n + c] += q->dense[i * n + c];
            p_[i * n + i] += ridge + (q->dense ? k.dw : diagonal[i]);
        }
        if (!potrf<double>(n, p_.data(), n)) {
            diagonal_.clear();
            return Shape::indefinite;
        }
    }
    const bool regular = pre_.set(n, k.m, k.j, k.dc, [this, n](double* b, index_t columns) {
        potrs(n, columns, p_.data(), n, b, columns);
    });
    return regular ? Shape::right : Shape::singular;
}

Shape SketchPcg::solve(const double* r, double rtol, double* d) {
    const Shape shape = ProjectedCg::solve(r, rtol, d);
    const double its = static_cast<double>(last_);
    if (fresh_ && decimals_ > 0.5) fresh_rate_ = its / decimals_, fresh_ = false;
    // A new sketch once the old one will have wasted what a new one costs, if the next solve wastes
    // as much as this one.
    const double lost = std::fmax(0.0, its - fresh_rate_ * std::fmax(decimals_, 0.0) - 1);
    waste_ += lost;
    if (fresh_rate_ > 0 && waste_ + lost > cost_) stale_ = true;
    if (shape == Shape::inaccurate) stale_ = true;
    return shape;
}

// ---- Nystrom ----------------------------------------------------------------------------------

bool NystromPcg::approximate(const KktSystem& k) {
    const index_t n = k.n, l = std::min(rank_, n);
    ++n_sketches, sketch_rows = l;
    // Omega: orthonormal rows from Gaussian ones (Cholesky of their Gram matrix, twice).
    Buffer<double> omega(l * n), y(l * n), g(l * l);
    fill_normal(omega.data(), 0, l * n,
                {o_.key, static_cast<std::uint64_t>(n_sketches), nystrom_directions});
    for (int pass = 0; pass < 2; ++pass) {
        gemm<double>(false, true, l, l, n, 1.0, omega.data(), n, omega.data(), n, 0.0, g.data(), l);
        if (!potrf<double>(l, g.data(), l)) return false;
        trsm(true, false, l, n, g.data(), l, omega.data(), n);
    }
    double size = 0;
    for (index_t i = 0; i < l; ++i) {
        k.w->multiply(omega.data() + i * n, y.data() + i * n);
        for (index_t q = 0; q < n; ++q) y[i * n + q] += k.dw * omega[i * n + q];
        size = std::hypot(size, euclid(y.data() + i * n, n));
    }
    iterations += l;
    const double nu =
        std::sqrt(static_cast<double>(n)) * std::numeric_limits<double>::epsilon() * size;
    for (index_t i = 0; i < l * n; ++i) y[i] += nu * omega[i];
    gemm<double>(false, true, l, l, n, 1.0, omega.data(), n, y.data(), n, 0.0, g.data(), l);
    if (!potrf<double>(l, g.data(), l)) return false;
    trsm(true, false, l, n, g.data(), l, y.data(), n); // B' = L^-1 Y', W ~ B B'
    gemm<double>(false, true, l, l, n, 1.0, y.data(), n, y.data(), n, 0.0, g.data(), l);
    values_.assign(static_cast<std::size_t>(l), 0.0);
    if (!syev(l, g.data(), l, values_.data())) return false;
    vectors_ = Buffer<double>(l * n);
    gemm<double>(false, false, l, n, l, 1.0, g.data(), l, y.data(), n, 0.0, vectors_.data(), n);
    for (index_t i = 0; i < l; ++i) {
        const double length = euclid(vectors_.data() + i * n, n);
        for (index_t q = 0; length > 0 && q < n; ++q) vectors_[i * n + q] /= length;
        values_[i] = std::fmax(0.0, values_[i] - nu);
    }
    return true;
}

Shape NystromPcg::factor(const KktSystem& k, bool) {
    k_ = k;
    if (!approximate(k)) return Shape::indefinite;
    const index_t n = k.n, l = static_cast<index_t>(values_.size());
    const double largest = values_.back();
    const double floor = std::fmax(values_.front(), 1e-12 * std::fmax(largest, 1e-300));
    // P^-1 = (I - U U') / floor + U diag(1 / max(lambda, floor)) U'
    const bool regular =
        pre_.set(n, k.m, k.j, k.dc, [this, n, l, floor](double* b, index_t columns) {
            std::vector<double> c(static_cast<std::size_t>(l * columns));
            gemm<double>(false, false, l, columns, n, 1.0, vectors_.data(), n, b, columns, 0.0,
                         c.data(), columns);
            for (index_t i = 0; i < l; ++i)
                for (index_t q = 0; q < columns; ++q)
                    c[i * columns + q] *= 1.0 / std::fmax(values_[i], floor) - 1.0 / floor;
            for (index_t i = 0; i < n * columns; ++i) b[i] /= floor;
            gemm<double>(true, false, n, columns, l, 1.0, vectors_.data(), n, c.data(), columns,
                         1.0, b, columns);
        });
    return regular ? Shape::right : Shape::singular;
}

Shape NystromPcg::solve(const double* r, double rtol, double* d) {
    const index_t before = iterations;
    const Shape shape = ProjectedCg::solve(r, rtol, d);
    // More directions when the iterations cost more than twice as many would have.
    const bool slow = iterations - before > 2 * rank_;
    if (slow && values_.front() > 10 * k_.dw && 2 * rank_ <= k_.n) rank_ *= 2;
    return shape;
}

// ---- cost model -------------------------------------------------------------------------------

namespace {

// Seconds of a step of 'ldl': A' diag(w) A, the KKT matrix, its factors. Sparse rows scatter.
double exact_step(const DataMatrix<double>& a, double size) {
    const double n = static_cast<double>(a.cols), entries = static_cast<double>(a.all_entries());
    const double rows = std::fmax(1.0, static_cast<double>(a.all_rows()));
    const double gram = a.sparse() ? entries * entries / rows * 1e-9 + n * n * 6e-9
                                   : rows * n * n / flops + entries * 0.7e-9;
    return gram + size * size * 10e-9 + size * size * size / 3 / flops;
}

// Seconds of a step of 'sketch-pcg', with a new sketch in one of three. An iteration gains
// log10(sqrt(rows of the sketch / n)) decimals; a step was seen to need two and a little.
double sketched_step(const DataMatrix<double>& a) {
    const double n = static_cast<double>(a.cols), pass = seconds_per_pass(a);
    const double size = static_cast<double>(best_size(a));
    const double sketch = (a.sparse() ? 4 : 2.5) * pass + size * n * 24 / bytes;
    const double iterations = 2 + 2 / std::log10(std::sqrt(size / n));
    return (sketch + size * n * n / flops + n * n * n / 3 / flops) / 3 +
           iterations * (pass + n * n * 8 / bytes);
}

} // namespace

Choice choose_solver(const Curvature& w, index_t n, index_t m) {
    const auto with = [](const char* text, double a, double b) {
        return std::string(text) + " (estimated " + std::to_string(a * 1e3) + " ms beside " +
               std::to_string(b * 1e3) + " ms a step)";
    };
    if (const Gram* q = w.gram()) {
        const double exact = exact_step(q->a, static_cast<double>(n + m));
        const double sketched = sketched_step(q->a);
        const bool tall = static_cast<double>(q->a.all_rows()) > 3 * static_cast<double>(n);
        if (tall && sketched < 0.9 * exact)
            return {LinearSolver::sketch_pcg,
                    with("sketching costs less than the Gram matrix", sketched, exact)};
        return {LinearSolver::ldl, with("the Gram matrix is cheap to form", exact, sketched)};
    }
    if (w.dense()) return {LinearSolver::ldl, "the Hessian is a dense matrix"};
    if (n <= 256) return {LinearSolver::ldl, "n is small: the Hessian is formed by n products"};
    return {LinearSolver::nystrom_pcg, "only products with the Hessian are known"};
}

} // namespace fastopt
