// The linear solvers' steps on a CUDA device: launches of kernels, and the libraries' algebra.
// P^-1 and S^-1 are applied by the inverses of their factors: two products instead of two
// triangular solves, which would wait for one row after another; a product N'N is positive
// semidefinite whatever the rounding. S is small: it is factored by the host, while P, the KKT
// matrix and everything that has n columns stay on the device.
#include <algorithm>
#include <cmath>

#include "sketch_newton/data_cuda.cuh"
#include "sketch_newton/kkt_cuda.cuh"
#include "sketch_newton/kkt_solvers.hpp"
#include "sketch_newton/sketch_steps.hpp"

namespace fastopt {
namespace {

using namespace gpu;

constexpr index_t weighed_numbers = index_t{1} << 24; // of diag(w) A at a time

using SharedQueue = std::shared_ptr<Queue>;

SharedQueue queue_of(const KktOptions& o) { return o.queue ? o.queue : make_queue(); }

template <class T> void resize(Array<T>& a, const SharedQueue& queue, index_t n) {
    if (a.size() != n) a = Array<T>(queue, n);
}
void put(const Array<double>& to, const double* from) {
    std::copy_n(from, to.size(), to.mirror());
    to.send();
}

} // namespace

namespace gpu {
#include "sketch_newton/kkt_functors.inl"
} // namespace gpu

// ---- vectors and rows --------------------------------------------------------------------------

void add(Queue& queue, index_t n, double factor, const double* y, double* x) {
    gpu::apply(queue, n, Add{factor, y, x});
}
void divide(Queue& queue, index_t n, double by, double* x) { gpu::apply(queue, n, Divided{by, x}); }
void times_rows(Queue& queue, index_t rows, index_t n, const double* by, double* a) {
    gpu::apply(queue, rows * n, TimesRows{n, by, a});
}
void divide_rows(Queue& queue, index_t rows, index_t n, const double* by, double* a) {
    gpu::apply(queue, rows * n, DividedRows{n, by, a});
}
std::vector<double> row_lengths(const SharedQueue& queue, index_t rows, index_t n,
                                const double* a) {
    const Array<double> sums(queue, rows + sum_blocks); // each row's parts reach into the next's
    for (index_t i = 0; i < rows; ++i)
        gpu::reduce<double, Plus>(*queue, n, InnerProduct{a + i * n, a + i * n}, sums.data() + i);
    std::vector<double> lengths(sums.fetch(), sums.mirror() + rows);
    for (double& length : lengths) length = std::sqrt(length);
    return lengths;
}

// ---- K ------------------------------------------------------------------------------------------

void KktProducts::set(const KktSystem& k, bool same) {
    k_ = k;
    const index_t n = k.n, m = k.m;
    if (m > 0 && (!same || j_.size() != m * n)) resize(j_, queue_, m * n), put(j_, k.j);
    if (k.w->gram()) return;
    const bool dense = k.w->dense() != nullptr;
    if (dense && (!same || w_.size() != n * n)) resize(w_, queue_, n * n), put(w_, k.w->dense());
    if (!dense) resize(v_, queue_, n), resize(wv_, queue_, n);
}

const double* KktProducts::j() const { return j_.data(); }

// Two waits where the host multiplies.
void KktProducts::multiply_w(const double* v, double* out) const {
    const index_t n = k_.n;
    const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(double);
    if (const Gram* q = k_.w->gram()) return q->steps->multiply(v, out);
    if (k_.w->dense()) return gemv(*queue_, false, n, n, 1.0, w_.data(), n, v, 0.0, out);
    download(*queue_, v_.mirror(), v, bytes);
    k_.w->multiply(v_.mirror(), wv_.mirror());
    upload(*queue_, out, wv_.mirror(), bytes);
}

void KktProducts::multiply(const double* d, double* out) const {
    const index_t n = k_.n, m = k_.m;
    multiply_w(d, out);
    add(*queue_, n, k_.dw, d, out);
    if (m == 0) return;
    gemv(*queue_, true, m, n, 1.0, j_.data(), n, d + n, 1.0, out);
    gemv(*queue_, false, m, n, 1.0, j_.data(), n, d, 0.0, out + n);
    add(*queue_, m, -k_.dc, d + n, out + n);
}

void DenseKkt::set(const KktSystem& k, bool same) {
    const index_t n = k.n, m = k.m;
    if (w_.size() != n * n) w_ = Array<double>(queue_, checked_product(n, n)), same = false;
    if (!same) {
        if (const Gram* q = k.w->gram()) {
            q->steps->form(w_.data());
        } else {
            fastopt::form(*k.w, n, threads_, w_.mirror());
            w_.send();
        }
        resize(j_, queue_, m * n);
        if (m > 0) put(j_, k.j);
    }
    k_ = k;
}

const double* DenseKkt::j() const { return j_.data(); }

void DenseKkt::form(double* out) const {
    const index_t size = k_.size();
    gpu::apply(*queue_, size * size,
               KktMatrix{k_.n, k_.m, k_.dw, k_.dc, w_.data(), j_.data(), out});
}

// ---- A' diag(w) A + R --------------------------------------------------------------------------

GramSteps::GramSteps(const Gram& gram, int threads)
    : gram_(gram), threads_(threads), w_(gram.a.queue, gram.w, gram.a.rows),
      diagonal_(gram.a.queue, gram.diagonal, gram.diagonal ? gram.a.cols : 0),
      dense_(gram.a.queue, gram.dense, gram.dense ? gram.a.cols * gram.a.cols : 0),
      rows_(gram.a.queue, gram.a.rows) {}

// Reads A twice, and n^2 numbers more where R is dense.
void GramSteps::multiply(const double* v, double* out) const {
    Queue& queue = *gram_.a.queue;
    const index_t n = gram_.a.cols;
    fastopt::multiply(queue, gram_.a, v, rows_.data());
    gpu::apply(queue, gram_.a.rows, TimesEach{w_.data(), rows_.data()});
    multiply_transposed(queue, gram_.a, rows_.data(), out);
    if (gram_.dense)
        gemv(queue, false, n, n, 1.0, dense_.data(), n, v, 1.0, out);
    else
        gpu::apply(queue, n, AddRest{gram_.scalar, diagonal_.data(), v, out});
}

// Reads A and writes it weighed, CSR rows as dense ones, some at a time; reads that once (twice
// where a weight is negative).
void GramSteps::form(double* out) const {
    const SharedQueue& queue = gram_.a.queue;
    const index_t rows = gram_.a.rows, n = gram_.a.cols;
    const bool negative = std::any_of(gram_.w, gram_.w + rows, [](double x) { return x < 0; });
    const index_t most = std::min(rows, std::max<index_t>(1, weighed_numbers / n));
    const bool sparse = gram_.a.sparse();
    const Array<double> weighed(queue, checked_product(most, n)),
        plain(queue, sparse && negative ? most * n : 0);
    for (index_t first = 0; first < rows; first += most) {
        const index_t count = std::min(most, rows - first);
        const double *a = sparse ? plain.data() : gram_.a.kernel.data() + first * n,
                     beta = first > 0 ? 1.0 : 0.0;
        if (sparse)
            gather(*queue, gram_.a, count, WeighedCsrRows{first, negative ? 0 : 1, w_.data()},
                   weighed.data());
        else
            gpu::apply(*queue, count * n,
                       WeighedRows{n, negative ? 0 : 1, w_.data() + first, a, weighed.data()});
        if (sparse && negative)
            gather(*queue, gram_.a, count, WeighedCsrRows{first, 0, nullptr}, plain.data());
        if (negative)
            gemm<double>(*queue, true, false, n, n, count, 1.0, weighed.data(), n, a, n, beta, out,
                         n);
        else
            syrk<double>(*queue, n, count, 1.0, weighed.data(), n, beta, out, n);
    }
    gpu::apply(*queue, n * n,
               AddRestAndMirror{n, gram_.scalar, diagonal_.data(), dense_.data(), out});
}

// ---- conjugate gradients -----------------------------------------------------------------------

PcgSteps::PcgSteps(const KktOptions& o)
    : queue_(queue_of(o)), products_(queue_), sums_(queue_, 3 * sum_blocks) {}

void PcgSteps::sketch_gram(const Gram& q, const SketchOptions& o) {
    const index_t n = q.a.cols;
    const Array<double> root(queue_, q.a.rows), sa(queue_, checked_product(o.size, n));
    gpu::apply(*queue_, q.a.rows, RootsOfWeights{q.steps->w(), root.data()});
    sketch(queue_, q.a, root.data(), o, sa.data());
    resize(gram_, queue_, checked_product(n, n));
    syrk<double>(*queue_, n, o.size, 1.0, sa.data(), n, 0.0, gram_.data(), n);
}

// p_ = L^-1. Two waits: for the diagonal, and for the success of the factorisation.
bool PcgSteps::factor_gram(const Gram& q, double dw, const std::vector<double>& diagonal) {
    const index_t n = q.a.cols;
    resize(p_, queue_, n * n), resize(diagonal_, queue_, n);
    put(diagonal_, q.dense ? std::vector<double>(diagonal.size(), dw).data() : diagonal.data());
    gpu::reduce<double, Plus>(*queue_, n, DiagonalEntry{n, gram_.data()}, sums_.data());
    const Array<double> l(queue_, n * n);
    gpu::apply(
        *queue_, n * n,
        SketchedGram{n, sums_.data(), diagonal_.data(), q.steps->dense(), gram_.data(), l.data()});
    if (!potrf<double>(*queue_, n, l.data(), n)) return false;
    gpu::apply(*queue_, n * n, IdentityMatrix{n, p_.data()});
    trsm<double>(*queue_, true, false, n, n, l.data(), n, p_.data(), n);
    return true;
}

void PcgSteps::solve_gram(double* b, index_t k) {
    const index_t n = products_.system().n;
    double* t = work_.data();
    if (k == 1) {
        gemv(*queue_, false, n, n, 1.0, p_.data(), n, b, 0.0, t);
        gemv(*queue_, true, n, n, 1.0, p_.data(), n, t, 0.0, b);
        return;
    }
    gemm<double>(*queue_, false, false, n, k, n, 1.0, p_.data(), n, b, k, 0.0, t, k);
    gemm<double>(*queue_, true, false, n, k, n, 1.0, p_.data(), n, t, k, 0.0, b, k);
}

// s_ = L^-1. Two waits: S to the host, and back.
bool PcgSteps::precondition(Inverse inverse) {
    const KktSystem& k = products_.system();
    const index_t n = k.n, m = k.m;
    const double* j = products_.j();
    inverse_ = std::move(inverse);
    resize(work_, queue_, n * std::max<index_t>(1, m) + m);
    if (m == 0) return true;
    resize(v_, queue_, n * m), resize(s_, queue_, m * m);
    gpu::apply(*queue_, m * n, Transposed{m, n, j, v_.data()});
    inverse_(v_.data(), m);
    gemm<double>(*queue_, false, false, m, m, n, 1.0, j, n, v_.data(), m, 0.0, s_.data(), m);
    const double* s = s_.fetch();
    std::vector<double> l(s, s + m * m);
    if (!factor_schur(m, k.dc, l.data())) return false;
    std::fill_n(s_.mirror(), m * m, 0.0);
    for (index_t i = 0; i < m; ++i) s_.mirror()[i * m + i] = 1.0;
    fastopt::trsm<double>(true, false, m, m, l.data(), m, s_.mirror(), m);
    s_.send();
    return true;
}

void PcgSteps::apply(const double* a, const double* b, double* z, double* y) {
    const index_t n = products_.system().n, m = products_.system().m;
    copy(*queue_, z, a, static_cast<std::size_t>(n) * sizeof(double));
    inverse_(z, 1);
    if (m == 0) return;
    gemv(*queue_, false, m, n, 1.0, products_.j(), n, z, 0.0, y);
    if (b) gpu::apply(*queue_, m, Add{-1.0, b, y});
    double* t = work_.data() + work_.size() - m;
    gemv(*queue_, false, m, m, 1.0, s_.data(), m, y, 0.0, t);
    gemv(*queue_, true, m, m, 1.0, s_.data(), m, t, 0.0, y);
    gemv(*queue_, false, n, m, -1.0, v_.data(), m, y, 1.0, z);
}

PcgSteps::Start PcgSteps::start(const double* r) {
    const index_t n = products_.system().n, size = products_.system().size();
    for (Array<double>* v : {&rest_, &kd_, &z_, &p_dir_, &d_}) resize(*v, queue_, size);
    double *rest = rest_.data(), *kd = kd_.data(), *z = z_.data(), *d = d_.data(),
           *sums = sums_.data();
    std::transform(r, r + size, rest_.mirror(), [](double x) { return -x; });
    rest_.send();
    apply(rest, rest + n, d, d + n);
    products_.multiply(d, kd);
    gpu::apply(*queue_, n, Add{-1.0, kd, rest});
    apply(rest, nullptr, z, z + n);
    gpu::reduce<double, Plus>(*queue_, n, InnerProduct{rest, rest}, sums);
    gpu::reduce<double, Plus>(*queue_, n, InnerProduct{d, kd}, sums + sum_blocks);
    gpu::reduce<double, Plus>(*queue_, n, InnerProduct{rest, z}, sums + 2 * sum_blocks);
    const double* s = sums_.fetch();
    return {std::sqrt(s[0]), s[sum_blocks], s[2 * sum_blocks]};
}

// One wait: alpha is computed where it is used.
PcgSteps::Progress PcgSteps::iterate(double beta, double rz) {
    const index_t n = products_.system().n, size = products_.system().size();
    double *rest = rest_.data(), *kd = kd_.data(), *z = z_.data(), *p = p_dir_.data(),
           *sums = sums_.data();
    gpu::apply(*queue_, size, Direction{beta, z, p});
    products_.multiply(p, kd);
    gpu::reduce<double, Plus>(*queue_, n, InnerProduct{p, kd}, sums);
    gpu::apply(*queue_, size, StepAlong{n, rz, sums, p, kd, d_.data(), rest});
    apply(rest, nullptr, z, z + n);
    gpu::reduce<double, Plus>(*queue_, n, InnerProduct{rest, rest}, sums + sum_blocks);
    gpu::reduce<double, Plus>(*queue_, n, InnerProduct{rest, z}, sums + 2 * sum_blocks);
    const double* s = sums_.fetch();
    return {s[0], std::sqrt(s[sum_blocks]), s[2 * sum_blocks]};
}

void PcgSteps::finish(double* d) const { std::copy_n(d_.fetch(), d_.size(), d); }

// ---- MINRES ------------------------------------------------------------------------------------

MinresSteps::MinresSteps(const KktOptions& o)
    : queue_(queue_of(o)), products_(queue_), sums_(queue_, 2 * sum_blocks) {}

double MinresSteps::start(const double* r) {
    const index_t size = products_.system().size();
    const double length = euclid(r, size), by = length != 0 ? -length : 1.0;
    for (Array<double>* v : {&v_, &v_old_, &q_, &p_old_, &p_older_, &d_})
        *v = Array<double>(queue_, size);
    std::transform(r, r + size, v_.mirror(), [by](double x) { return x / by; });
    v_.send();
    return length;
}

// One wait.
MinresSteps::Column MinresSteps::lanczos(double beta_before) {
    const index_t size = v_.size();
    double *q = q_.data(), *sums = sums_.data();
    products_.multiply(v_.data(), q);
    gpu::reduce<double, Plus>(*queue_, size, InnerProduct{v_.data(), q}, sums);
    gpu::reduce<double, Plus>(*queue_, size,
                              LanczosRest{sums, beta_before, v_.data(), v_old_.data(), q},
                              sums + sum_blocks);
    const double* s = sums_.fetch();
    return {s[0], std::sqrt(s[sum_blocks])};
}

void MinresSteps::advance(double r1, double r2, double r3, double step, double beta) {
    gpu::apply(*queue_, v_.size(),
               MinresStep{r1, r2, r3, step, beta, q_.data(), p_old_.data(), p_older_.data(),
                          d_.data(), v_.data(), v_old_.data()});
    std::swap(p_old_, p_older_);
}

void MinresSteps::finish(double* d) const { std::copy_n(d_.fetch(), d_.size(), d); }

// ---- L D L' ------------------------------------------------------------------------------------

LdlSteps::LdlSteps(const KktOptions& o)
    : queue_(queue_of(o)), kkt_(queue_, o.threads), sums_(queue_, sum_blocks) {}

bool LdlSteps::factor(const KktSystem& k, bool same) {
    const index_t size = k.size();
    kkt_.set(k, same);
    resize(factor_, queue_, checked_product(size, size)), resize(scales_, queue_, size);
    resize(pivots_, queue_, size), resize(wide_pivots_, queue_, size);
    kkt_.form(factor_.data());
    scale_.assign(static_cast<std::size_t>(size), 1.0);
    for (int pass = 0;; ++pass) {
        over(*queue_, size * warp_size, row_largest, factor_.data(), size, scales_.data());
        double* rows = scales_.fetch();
        blocks_.largest = *std::max_element(rows, rows + size);
        if (!std::isfinite(blocks_.largest)) return false;
        std::transform(rows, rows + size, rows, balance);
        const bool even = std::all_of(rows, rows + size, [](double s) { return s == 1.0; });
        if (even || pass == 3) break;
        for (index_t i = 0; i < size; ++i) scale_[i] *= rows[i];
        scales_.send();
        gpu::apply(*queue_, size * size, ScaleBoth{size, scales_.data(), factor_.data()});
    }
    put(scales_, scale_.data());
    sytrf(*queue_, size, factor_.data(), size, pivots_.data());
    gpu::apply(*queue_, size, Widened{pivots_.data(), wide_pivots_.data()});
    const Array<double> blocks(queue_, 2 * size);
    gpu::apply(*queue_, size, BlocksOfD{size, factor_.data(), blocks.data()});
    const double* d = blocks.fetch();
    const int* pivots = pivots_.fetch();
    blocks_.diagonal.assign(d, d + size), blocks_.beside.assign(d + size, d + 2 * size);
    blocks_.pivots.assign(pivots, pivots + size);
    return true;
}

// Two waits a pass: what sytrs keeps on the host, and the residual.
void LdlSteps::solve(const double* r, double* d) {
    const KktSystem& k = kkt_.system();
    const index_t size = k.size(), n = k.n, m = k.m;
    const double wanted = 1e-14 * euclid(r, size);
    for (Array<double>* v : {&rest_, &kd_, &d_, &r_}) resize(*v, queue_, size);
    double *rest = rest_.data(), *kd = kd_.data(), *at = d_.data();
    put(r_, r);
    std::fill_n(d_.mirror(), size, 0.0), d_.send();
    std::transform(r, r + size, rest_.mirror(), [](double x) { return -x; });
    rest_.send();
    for (int pass = 0; pass < 3; ++pass) { // one solve and at most two refinements
        gpu::apply(*queue_, size, TimesEach{scales_.data(), rest});
        sytrs(*queue_, size, factor_.data(), size, wide_pivots_.data(), rest);
        gpu::apply(*queue_, size, AddTimes{scales_.data(), rest, at});
        if (pass == 2) break;
        gemv(*queue_, false, n, n, 1.0, kkt_.w(), n, at, 0.0, kd);
        if (m > 0) {
            gemv(*queue_, true, m, n, 1.0, kkt_.j(), n, at + n, 1.0, kd);
            gemv(*queue_, false, m, n, 1.0, kkt_.j(), n, at, 0.0, kd + n);
        }
        gpu::apply(*queue_, size, KktResidual{n, k.dw, k.dc, r_.data(), at, kd, rest});
        gpu::reduce<double, Plus>(*queue_, size, InnerProduct{rest, rest}, sums_.data());
        if (!(std::sqrt(sums_.fetch()[0]) > wanted)) break;
    }
    std::copy_n(d_.fetch(), size, d);
}

} // namespace fastopt
