// The linear solvers' steps on the CPU: loops in order, and BLAS.
#include "sketch_newton/kkt_steps.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "sketch_newton/kkt_solvers.hpp"
#include "sketch_newton/sketch_steps.hpp"

namespace fastopt {
namespace {

void resize(Array<double>& a, const std::shared_ptr<Queue>& queue, index_t n) {
    if (a.size() != n) a = Array<double>(queue, n);
}

double inner(index_t n, const double* a, const double* b) {
    double sum = 0;
    for (index_t i = 0; i < n; ++i) sum += a[i] * b[i];
    return sum;
}

template <class F> void each(index_t n, F f) {
    for (index_t i = 0; i < n; ++i) f(i);
}

#include "sketch_newton/kkt_functors.inl"

} // namespace

// ---- vectors and rows --------------------------------------------------------------------------

void add(Queue&, index_t n, double factor, const double* y, double* x) {
    for (index_t i = 0; i < n; ++i) x[i] += factor * y[i];
}
void divide(Queue&, index_t n, double by, double* x) { each(n, Divided{by, x}); }
void times_rows(Queue&, index_t rows, index_t n, const double* by, double* a) {
    each(rows * n, TimesRows{n, by, a});
}
void divide_rows(Queue&, index_t rows, index_t n, const double* by, double* a) {
    each(rows * n, DividedRows{n, by, a});
}
std::vector<double> row_lengths(const std::shared_ptr<Queue>&, index_t rows, index_t n,
                                const double* a) {
    std::vector<double> lengths(static_cast<std::size_t>(rows));
    for (index_t i = 0; i < rows; ++i) lengths[i] = euclid(a + i * n, n);
    return lengths;
}

// ---- K -----------------------------------------------------------------------------------------

void KktProducts::set(const KktSystem& k, bool) { k_ = k; }
const double* KktProducts::j() const { return k_.j; }
void KktProducts::multiply_w(const double* v, double* out) const { k_.w->multiply(v, out); }
void KktProducts::multiply(const double* d, double* out) const { k_.multiply(d, out); }

void DenseKkt::set(const KktSystem& k, bool same) {
    if (w_.size() != k.n * k.n) w_ = Array<double>(queue_, checked_product(k.n, k.n)), same = false;
    if (!same) fastopt::form(*k.w, k.n, threads_, w_.data());
    k_ = k;
}
const double* DenseKkt::j() const { return k_.j; }
void DenseKkt::form(double* out) const { full_kkt(k_, w_.data(), out); }

// ---- A' diag(w) A + R -------------------------------------------------------------------------

GramSteps::GramSteps(const Gram& gram, int threads) : gram_(gram), threads_(threads) {}

void GramSteps::multiply(const double* v, double* out) const {
    const Gram& q = gram_;
    const index_t n = q.a.cols;
    multiply_gram(q.a, q.w, v, out, threads_);
    if (q.dense)
        gemv<double>(false, n, n, 1.0, q.dense, n, v, 1.0, out);
    else if (q.diagonal)
        for (index_t j = 0; j < n; ++j) out[j] += q.diagonal[j] * v[j];
    else
        for (index_t j = 0; j < n; ++j) out[j] += q.scalar * v[j];
}

// ---- conjugate gradients ----------------------------------------------------------------------

PcgSteps::PcgSteps(const KktOptions& o) : queue_(o.queue), products_(queue_) {}

void PcgSteps::sketch_gram(const Gram& q, const SketchOptions& o) {
    const index_t n = q.a.cols;
    std::vector<double> root(static_cast<std::size_t>(q.a.rows));
    for (index_t i = 0; i < q.a.rows; ++i) root[i] = std::sqrt(std::fabs(q.w[i]));
    const Buffer<double> sa(checked_product(o.size, n));
    sketch(q.a, root.data(), o, sa.data());
    resize(gram_, queue_, checked_product(n, n));
    syrk<double>(n, o.size, 1.0, sa.data(), n, 0.0, gram_.data(), n);
}

bool PcgSteps::factor_gram(const Gram& q, double dw, const std::vector<double>& diagonal) {
    const index_t n = q.a.cols;
    resize(p_, queue_, n * n);
    double* p = p_.data();
    std::copy_n(gram_.data(), n * n, p);
    double trace = 0;
    for (index_t i = 0; i < n; ++i) trace += p[i * n + i];
    const double ridge = 1e-14 * trace / static_cast<double>(n);
    for (index_t i = 0; i < n; ++i) {
        for (index_t c = 0; q.dense && c <= i; ++c) p[i * n + c] += q.dense[i * n + c];
        p[i * n + i] += ridge + (q.dense ? dw : diagonal[i]);
    }
    return potrf<double>(n, p, n);
}

void PcgSteps::solve_gram(double* b, index_t k) {
    const index_t n = products_.system().n;
    potrs(n, k, p_.data(), n, b, k);
}

bool PcgSteps::precondition(Inverse inverse) {
    const KktSystem& k = products_.system();
    const index_t n = k.n, m = k.m;
    inverse_ = std::move(inverse);
    if (m == 0) return true;
    resize(v_, queue_, n * m), resize(s_, queue_, m * m);
    for (index_t i = 0; i < m; ++i)
        for (index_t q = 0; q < n; ++q) v_.data()[q * m + i] = k.j[i * n + q];
    inverse_(v_.data(), m);
    gemm<double>(false, false, m, m, n, 1.0, k.j, n, v_.data(), m, 0.0, s_.data(), m);
    return factor_schur(m, k.dc, s_.data());
}

void PcgSteps::apply(const double* a, const double* b, double* z, double* y) {
    const index_t n = products_.system().n, m = products_.system().m;
    std::copy_n(a, n, z);
    inverse_(z, 1);
    if (m == 0) return;
    for (index_t i = 0; i < m; ++i) y[i] = b ? -b[i] : 0.0;
    gemv<double>(false, m, n, 1.0, products_.j(), n, z, 1.0, y);
    potrs(m, 1, s_.data(), m, y, 1);
    gemv<double>(false, n, m, -1.0, v_.data(), m, y, 1.0, z);
}

PcgSteps::Start PcgSteps::start(const double* r) {
    const index_t n = products_.system().n, size = products_.system().size();
    for (Array<double>* v : {&rest_, &kd_, &z_, &p_dir_, &d_}) resize(*v, queue_, size);
    double *rest = rest_.data(), *kd = kd_.data(), *d = d_.data();
    for (index_t i = 0; i < size; ++i) rest[i] = -r[i];
    std::fill_n(p_dir_.data(), size, 0.0), std::fill_n(z_.data(), size, 0.0);
    apply(rest, rest + n, d, d + n);
    products_.multiply(d, kd);
    for (index_t i = 0; i < n; ++i) rest[i] -= kd[i];
    apply(rest, nullptr, z_.data(), z_.data() + n);
    return {euclid(rest, n), inner(n, d, kd), inner(n, rest, z_.data())};
}

PcgSteps::Progress PcgSteps::iterate(double beta, double rz) {
    const index_t n = products_.system().n, size = products_.system().size();
    double *rest = rest_.data(), *kd = kd_.data(), *z = z_.data(), *p = p_dir_.data(),
           *d = d_.data();
    for (index_t i = 0; i < size; ++i) p[i] = z[i] + beta * p[i];
    products_.multiply(p, kd);
    const double pkp = inner(n, p, kd);
    if (!(pkp > 0)) return {pkp, 0, 0};
    const double alpha = rz / pkp;
    for (index_t i = 0; i < size; ++i) d[i] += alpha * p[i];
    for (index_t i = 0; i < n; ++i) rest[i] -= alpha * kd[i];
    apply(rest, nullptr, z, z + n);
    return {pkp, euclid(rest, n), inner(n, rest, z)};
}

void PcgSteps::finish(double* d) const { std::copy_n(d_.data(), d_.size(), d); }

// ---- MINRES -----------------------------------------------------------------------------------

MinresSteps::MinresSteps(const KktOptions& o) : queue_(o.queue), products_(queue_) {}

double MinresSteps::start(const double* r) {
    const index_t size = products_.system().size();
    for (Array<double>* v : {&v_, &v_old_, &q_, &p_old_, &p_older_, &d_}) {
        resize(*v, queue_, size);
        std::fill_n(v->data(), size, 0.0);
    }
    const double length = euclid(r, size);
    for (index_t i = 0; i < size; ++i) v_.data()[i] = -r[i];
    if (length != 0) each(size, Divided{length, v_.data()});
    return length;
}

MinresSteps::Column MinresSteps::lanczos(double beta_before) {
    const index_t size = v_.size();
    double* q = q_.data();
    products_.multiply(v_.data(), q);
    const double alpha = inner(size, v_.data(), q);
    const LanczosRest rest{&alpha, beta_before, v_.data(), v_old_.data(), q};
    double sum = 0;
    for (index_t i = 0; i < size; ++i) sum += rest(i);
    return {alpha, std::sqrt(sum)};
}

void MinresSteps::advance(double r1, double r2, double r3, double step, double beta) {
    each(v_.size(), MinresStep{r1, r2, r3, step, beta, q_.data(), p_old_.data(), p_older_.data(),
                               d_.data(), v_.data(), v_old_.data()});
    std::swap(p_old_, p_older_);
}

void MinresSteps::finish(double* d) const { std::copy_n(d_.data(), d_.size(), d); }

// ---- L D L' -----------------------------------------------------------------------------------

LdlSteps::LdlSteps(const KktOptions& o) : queue_(o.queue), kkt_(queue_, o.threads) {}

bool LdlSteps::factor(const KktSystem& k, bool same) {
    const index_t size = k.size();
    kkt_.set(k, same);
    resize(factor_, queue_, checked_product(size, size));
    double* a = factor_.data();
    kkt_.form(a);
    for (index_t i = 0; i < size * size; ++i)
        if (!std::isfinite(a[i])) return false;
    scale_.assign(static_cast<std::size_t>(size), 1.0);
    std::vector<double> change(scale_.size());
    for (int pass = 0; pass < 3; ++pass) {
        bool even = true;
        for (index_t i = 0; i < size; ++i) {
            double largest = 0;
            for (index_t j = 0; j < size; ++j)
                largest = std::fmax(largest, std::fabs(a[i * size + j]));
            change[i] = balance(largest);
            even = even && change[i] == 1.0;
        }
        if (even) break;
        for (index_t i = 0; i < size; ++i) {
            scale_[i] *= change[i];
            for (index_t j = 0; j < size; ++j) a[i * size + j] *= change[i] * change[j];
        }
    }
    blocks_.largest = 0;
    for (index_t i = 0; i < size * size; ++i)
        blocks_.largest = std::fmax(blocks_.largest, std::fabs(a[i]));
    for (auto* v : {&blocks_.diagonal, &blocks_.beside}) v->assign(scale_.size(), 0.0);
    blocks_.pivots.resize(scale_.size());
    sytrf(size, a, size, blocks_.pivots.data());
    for (index_t i = 0; i < size; ++i) {
        blocks_.diagonal[i] = a[i * size + i];
        if (i > 0) blocks_.beside[i] = a[i * size + i - 1];
    }
    return true;
}

void LdlSteps::solve(const double* r, double* d) {
    const KktSystem& k = kkt_.system();
    const index_t size = k.size(), n = k.n, m = k.m;
    const double wanted = 1e-14 * euclid(r, size);
    std::vector<double> rest(static_cast<std::size_t>(size)), kd(rest.size());
    for (index_t i = 0; i < size; ++i) d[i] = 0, rest[i] = -r[i];
    for (int pass = 0; pass < 3; ++pass) { // one solve and at most two refinements
        for (index_t i = 0; i < size; ++i) rest[i] *= scale_[i];
        sytrs(size, factor_.data(), size, blocks_.pivots.data(), rest.data());
        for (index_t i = 0; i < size; ++i) d[i] += scale_[i] * rest[i];
        if (pass == 2) break;
        gemv<double>(false, n, n, 1.0, kkt_.w(), n, d, 0.0, kd.data());
        for (index_t i = 0; i < n; ++i) kd[i] += k.dw * d[i];
        if (m > 0) {
            gemv<double>(true, m, n, 1.0, k.j, n, d + n, 1.0, kd.data());
            gemv<double>(false, m, n, 1.0, k.j, n, d, 0.0, kd.data() + n);
        }
        for (index_t i = 0; i < m; ++i) kd[n + i] -= k.dc * d[n + i];
        for (index_t i = 0; i < size; ++i) rest[i] = -r[i] - kd[i];
        if (!(euclid(rest.data(), size) > wanted)) break;
    }
}

} // namespace fastopt
