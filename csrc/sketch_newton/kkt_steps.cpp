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

} // namespace

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

PcgSteps::PcgSteps(const KktOptions& o) : queue_(o.queue) {}

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

void PcgSteps::solve_gram(double* b, index_t k) { potrs(k_.n, k, p_.data(), k_.n, b, k); }

bool PcgSteps::set(const KktSystem& k, bool, Inverse inverse) {
    const index_t n = k.n, m = k.m;
    k_ = k, inverse_ = std::move(inverse);
    if (m == 0) return true;
    resize(v_, queue_, n * m), resize(s_, queue_, m * m);
    for (index_t i = 0; i < m; ++i)
        for (index_t q = 0; q < n; ++q) v_.data()[q * m + i] = k.j[i * n + q];
    inverse_(v_.data(), m);
    gemm<double>(false, false, m, m, n, 1.0, k.j, n, v_.data(), m, 0.0, s_.data(), m);
    return factor_schur(m, k.dc, s_.data());
}

void PcgSteps::apply(const double* a, const double* b, double* z, double* y) {
    const index_t n = k_.n, m = k_.m;
    std::copy_n(a, n, z);
    inverse_(z, 1);
    if (m == 0) return;
    for (index_t i = 0; i < m; ++i) y[i] = b ? -b[i] : 0.0;
    gemv<double>(false, m, n, 1.0, k_.j, n, z, 1.0, y);
    potrs(m, 1, s_.data(), m, y, 1);
    gemv<double>(false, n, m, -1.0, v_.data(), m, y, 1.0, z);
}

void PcgSteps::multiply(const double* d, double* out) { k_.multiply(d, out); }

PcgSteps::Start PcgSteps::start(const double* r) {
    const index_t n = k_.n, size = k_.size();
    for (Array<double>* v : {&rest_, &kd_, &z_, &p_dir_, &d_}) resize(*v, queue_, size);
    double *rest = rest_.data(), *kd = kd_.data(), *d = d_.data();
    for (index_t i = 0; i < size; ++i) rest[i] = -r[i];
    std::fill_n(p_dir_.data(), size, 0.0), std::fill_n(z_.data(), size, 0.0);
    apply(rest, rest + n, d, d + n);
    multiply(d, kd);
    for (index_t i = 0; i < n; ++i) rest[i] -= kd[i];
    apply(rest, nullptr, z_.data(), z_.data() + n);
    return {euclid(rest, n), inner(n, d, kd), inner(n, rest, z_.data())};
}

PcgSteps::Progress PcgSteps::iterate(double beta, double rz) {
    const index_t n = k_.n, size = k_.size();
    double *rest = rest_.data(), *kd = kd_.data(), *z = z_.data(), *p = p_dir_.data(),
           *d = d_.data();
    for (index_t i = 0; i < size; ++i) p[i] = z[i] + beta * p[i];
    multiply(p, kd);
    const double pkp = inner(n, p, kd);
    if (!(pkp > 0)) return {pkp, 0, 0};
    const double alpha = rz / pkp;
    for (index_t i = 0; i < size; ++i) d[i] += alpha * p[i];
    for (index_t i = 0; i < n; ++i) rest[i] -= alpha * kd[i];
    apply(rest, nullptr, z, z + n);
    return {pkp, euclid(rest, n), inner(n, rest, z)};
}

void PcgSteps::finish(double* d) const { std::copy_n(d_.data(), k_.size(), d); }

// ---- L D L' -----------------------------------------------------------------------------------

LdlSteps::LdlSteps(const KktOptions& o) : queue_(o.queue), threads_(o.threads) {}

bool LdlSteps::factor(const KktSystem& k, bool same) {
    const index_t n = k.n, size = k.size();
    if (w_.size() != n * n) w_ = Array<double>(queue_, checked_product(n, n)), same = false;
    if (!same) form(*k.w, n, threads_, w_.data());
    resize(factor_, queue_, checked_product(size, size));
    k_ = k;
    double* a = factor_.data();
    full_kkt(k, w_.data(), a);
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
    const index_t size = k_.size(), n = k_.n;
    const double wanted = 1e-14 * euclid(r, size);
    std::vector<double> rest(static_cast<std::size_t>(size)), kd(rest.size());
    for (index_t i = 0; i < size; ++i) d[i] = 0, rest[i] = -r[i];
    for (int pass = 0; pass < 3; ++pass) { // one solve and at most two refinements
        for (index_t i = 0; i < size; ++i) rest[i] *= scale_[i];
        sytrs(size, factor_.data(), size, blocks_.pivots.data(), rest.data());
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
}

} // namespace fastopt
