#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "core/random.hpp"
#include "sketch_newton/kkt_solvers.hpp"

namespace fastopt {
namespace {

enum Stream : std::uint32_t { nystrom_directions = 48 };

// For choices between methods only: one core of a CPU, measured; or a GPU by the data sheet of an
// H100, with guesses of what half its peak needs and of the latency of a launch. Ranks that share
// the rows choose as one process would.
struct Rates {
    double flops, bytes, cached_bytes; // a second
    double entry;                      // seconds of a product with W for an entry of CSR data
    double scaling, assembly;          // seconds for an entry of A, and of the KKT matrix
    double launch, column;             // seconds; the latter of L D L', beside its flops
};
Rates rates() {
    return kernels_on_host() ? Rates{45e9, 24e9, 32e9, 2e-9, 0.7e-9, 10e-9, 0, 0}
                             : Rates{30e12, 2.5e12, 2.5e12, 20e-12, 10e-12, 0.1e-9, 5e-6, 20e-6};
}
constexpr double decimals = 3;            // that one sketch serves, for its size
constexpr double iteration_launches = 20; // of conjugate gradients

double seconds_per_pass(const DataMatrix<double>& a) {
    const double entries = static_cast<double>(a.all_entries());
    const bool cached = 8 * entries < 8e6;
    const Rates r = rates();
    return entries * (a.sparse() ? r.entry
                      : cached   ? 8 / r.cached_bytes
                                 : 8 / r.bytes) +
           iteration_launches * r.launch;
}

} // namespace

// ---- conjugate gradients ----------------------------------------------------------------------

// One iteration: one product with W, one application of C.
Shape ProjectedCg::solve(const double* r, double rtol, double* d) {
    const double first = euclid(r, k_.size());
    if (first == 0) {
        std::fill(d, d + k_.size(), 0.0);
        return Shape::right;
    }
    const PcgSteps::Start start = steps_.start(r);
    ++iterations;
    // rest'z measures the error in the norm of P, which no scaling of x changes, and d'K d the
    // step; the error of a Newton step is measured in it too.
    double now = start.rest, rz_next = start.rz, rz = 0;
    index_t k = 0;
    Shape shape = Shape::right;
    for (;; ++k) {
        if (k == most_ || !std::isfinite(now)) {
            shape = Shape::inaccurate;
            break;
        }
        if (now <= rtol * first && rz_next <= rtol * rtol * std::fabs(start.energy)) break;
        if (now <= 1e-15 * first) break;
        if (!(rz_next > 0)) {
            shape = k == 0 && rz_next < 0 ? Shape::indefinite : Shape::inaccurate;
            break;
        }
        const double beta = k > 0 ? rz_next / rz : 0.0;
        rz = rz_next;
        poll();
        const PcgSteps::Progress step = steps_.iterate(beta, rz);
        ++iterations;
        if (!(step.curvature > 0)) return Shape::indefinite;
        now = step.rest, rz_next = step.rz;
    }
    steps_.finish(d);
    last_ = k, decimals_ = std::log10(start.rest / std::fmax(now, 1e-300));
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
            factor * n * n * n / rates().flops + decimals / std::log10(std::sqrt(factor)) * pass;
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
    std::vector<double> root, probabilities;
    if (o.kind == SketchKind::leverage || o.kind == SketchKind::less) {
        root.resize(static_cast<std::size_t>(q.a.rows));
        for (index_t i = 0; i < q.a.rows; ++i) root[i] = std::sqrt(std::fabs(q.w[i]));
        probabilities = row_probabilities(q.a, root.data(), o);
        o.probabilities = probabilities.data();
    }
    steps_.sketch_gram(q, o);
    const double size = static_cast<double>(o.size), dn = static_cast<double>(n);
    cost_ = 4 + (size * dn * dn + dn * dn * dn / 3) / rates().flops / seconds_per_pass(q.a);
}

Shape SketchPcg::factor(const KktSystem& k, bool same) {
    const Gram* q = k.w->gram();
    FASTOPT_REQUIRE(q != nullptr, "linear_solver='sketch-pcg' needs a Hessian of the form "
                                  "A' diag(w) A + R (fastopt.problems.WeightedGram)");
    const index_t n = k.n;
    k_ = k;
    steps_.set(k, same);
    if (stale_) {
        make_sketch(*q);
        fresh_ = true, fresh_rate_ = waste_ = 0;
    }
    std::vector<double> diagonal(static_cast<std::size_t>(n));
    for (index_t i = 0; i < n; ++i) diagonal[i] = k.dw + (q->diagonal ? q->diagonal[i] : q->scalar);
    if (stale_ || q->dense || diagonal != diagonal_) {
        stale_ = false, diagonal_ = diagonal;
        if (!steps_.factor_gram(*q, k.dw, diagonal)) {
            diagonal_.clear();
            return Shape::indefinite;
        }
    }
    const bool regular =
        steps_.precondition([this](double* b, index_t columns) { steps_.solve_gram(b, columns); });
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
    Queue& queue = *o_.queue;
    ++n_sketches, sketch_rows = l;
    // Omega: orthonormal rows from Gaussian ones (Cholesky of their Gram matrix, twice).
    const Array<double> omega(o_.queue, checked_product(l, n)), y(o_.queue, l * n),
        g(o_.queue, l * l), lengths(o_.queue, l);
    fill_normal(omega.mirror(), 0, l * n,
                {o_.key, static_cast<std::uint64_t>(n_sketches), nystrom_directions});
    omega.send();
    for (int pass = 0; pass < 2; ++pass) {
        gemm<double>(queue, false, true, l, l, n, 1.0, omega.data(), n, omega.data(), n, 0.0,
                     g.data(), l);
        if (!potrf<double>(queue, l, g.data(), l)) return false;
        trsm<double>(queue, true, false, l, n, g.data(), l, omega.data(), n);
    }
    for (index_t i = 0; i < l; ++i)
        steps_.products().multiply_w(omega.data() + i * n, y.data() + i * n);
    add(queue, l * n, k.dw, omega.data(), y.data());
    double size = 0;
    for (const double length : row_lengths(o_.queue, l, n, y.data()))
        size = std::hypot(size, length);
    iterations += l;
    const double nu =
        std::sqrt(static_cast<double>(n)) * std::numeric_limits<double>::epsilon() * size;
    add(queue, l * n, nu, omega.data(), y.data());
    gemm<double>(queue, false, true, l, l, n, 1.0, omega.data(), n, y.data(), n, 0.0, g.data(), l);
    if (!potrf<double>(queue, l, g.data(), l)) return false;
    trsm<double>(queue, true, false, l, n, g.data(), l, y.data(), n); // B' = L^-1 Y', W ~ B B'
    gemm<double>(queue, false, true, l, l, n, 1.0, y.data(), n, y.data(), n, 0.0, g.data(), l);
    values_.assign(static_cast<std::size_t>(l), 0.0);
    if (!syev(l, g.fetch(), l, values_.data())) return false;
    g.send();
    vectors_ = Array<double>(o_.queue, l * n);
    gemm<double>(queue, false, false, l, n, l, 1.0, g.data(), l, y.data(), n, 0.0, vectors_.data(),
                 n);
    const std::vector<double> sizes = row_lengths(o_.queue, l, n, vectors_.data());
    std::copy(sizes.begin(), sizes.end(), lengths.mirror());
    lengths.send();
    divide_rows(queue, l, n, lengths.data(), vectors_.data());
    for (double& value : values_) value = std::fmax(0.0, value - nu);
    return true;
}

Shape NystromPcg::factor(const KktSystem& k, bool same) {
    k_ = k;
    steps_.set(k, same);
    if (!approximate(k)) return Shape::indefinite;
    const index_t n = k.n, l = static_cast<index_t>(values_.size());
    const double largest = values_.back();
    const double floor = std::fmax(values_.front(), 1e-12 * std::fmax(largest, 1e-300));
    beyond_ = Array<double>(o_.queue, l);
    coefficients_ = Array<double>(o_.queue, l * std::max<index_t>(1, k.m));
    for (index_t i = 0; i < l; ++i)
        beyond_.mirror()[i] = 1.0 / std::fmax(values_[i], floor) - 1.0 / floor;
    beyond_.send();
    // P^-1 = (I - U U') / floor + U diag(1 / max(lambda, floor)) U'
    const bool regular = steps_.precondition([this, n, l, floor](double* b, index_t columns) {
        Queue& queue = *o_.queue;
        double* c = coefficients_.data();
        gemm<double>(queue, false, false, l, columns, n, 1.0, vectors_.data(), n, b, columns, 0.0,
                     c, columns);
        times_rows(queue, l, columns, beyond_.data(), c);
        divide(queue, n * columns, floor, b);
        gemm<double>(queue, true, false, n, columns, l, 1.0, vectors_.data(), n, c, columns, 1.0, b,
                     columns);
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

// Seconds of a step of 'ldl': A' diag(w) A, the KKT matrix, its factors. Sparse rows scatter on the
// CPU, and become dense on a GPU.
double exact_step(const DataMatrix<double>& a, double size) {
    const double n = static_cast<double>(a.cols), entries = static_cast<double>(a.all_entries());
    const double rows = std::fmax(1.0, static_cast<double>(a.all_rows()));
    const Rates r = rates();
    const double gram =
        a.sparse() && kernels_on_host()
            ? entries * entries / rows * 1e-9 + n * n * 6e-9
            : rows * n * n / r.flops + (a.sparse() ? rows * n : entries) * r.scaling;
    return gram + size * size * r.assembly + size * size * size / 3 / r.flops + size * r.column;
}

// Seconds of a step of 'sketch-pcg', with a new sketch in one of three. An iteration gains
// log10(sqrt(rows of the sketch / n)) decimals; a step was seen to need two and a little.
double sketched_step(const DataMatrix<double>& a) {
    const double n = static_cast<double>(a.cols), pass = seconds_per_pass(a);
    const double size = static_cast<double>(best_size(a));
    const double sketch = (a.sparse() ? 4 : 2.5) * pass + size * n * 24 / rates().bytes;
    const double iterations = 2 + 2 / std::log10(std::sqrt(size / n));
    return (sketch + size * n * n / rates().flops + n * n * n / 3 / rates().flops) / 3 +
           iterations * (pass + n * n * 8 / rates().bytes);
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
