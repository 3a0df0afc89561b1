// The projection on the graph of F, of the same form for every backend.
#include <algorithm>
#include <cmath>
#include <vector>

#include "admm_relu/design.hpp"
#include "core/error.hpp"
#include "core/parallel.hpp"

namespace fastopt {

void not_definite() {
    throw BackendError("the system I + gamma F'F is not positive definite in this precision: "
                       "raise beta or rho, or use dtype='float64'");
}

template <class T>
GraphProjection<T>::GraphProjection(Design<T>& design, int signs, index_t max_dense)
    : design_(design), signs_(signs) {
    const index_t n = design.n(), m = design.n_gates() * design.d(), c = design.c();
    size_ = std::min(n, m);
    form_ = size_ > max_dense ? Form::iterative : n <= m ? Form::rows : Form::columns;
    if (form_ == Form::iterative && !kernels_on_host())
        throw BackendError("a dense system of order " + std::to_string(size_) +
                           " does not fit, and conjugate gradients run on the CPU only: use "
                           "device='cpu', or fewer gates or samples");
    const AdmmSteps& steps = design.steps();
    const index_t half = design.half();
    e_ = steps.array<T>(half), g_ = steps.array<T>(half), z_ = steps.array<T>(c * n);
    if (form_ != Form::rows) f_ = steps.array<T>(half), target_ = steps.array<T>(half);
    if (form_ == Form::iterative) {
        delta_ = steps.array<T>(half);
        blocks_ = Buffer<T>(checked_product(m, design.d()));
        return;
    }
    system_ = GramSystem<T>(design, form_ == Form::rows);
}

template <class T> void GraphProjection<T>::set(double gamma) {
    if (gamma == gamma_) return;
    gamma_ = gamma;
    factorise();
}

template <class T> void GraphProjection<T>::factorise() {
    ++factorisations_;
    if (form_ != Form::iterative) return system_.factorise(signs_ * gamma_);
    const T s = static_cast<T>(signs_ * gamma_);
    const index_t d = design_.d();
    parallel_for(design_.n_gates(), design_.threads(), [&](index_t i) {
        T* block = blocks_.data() + i * d * d;
        design_.gate_gram(i, s, T(1), block);
        if (!potrf(d, block, d)) throw BackendError("a preconditioner block is not definite");
    });
}

template <class T>
void GraphProjection<T>::project(const T* a, const T* b, T* u, T* zeta, bool want_zeta,
                                 double tolerance) {
    const index_t half = design_.half(), m = design_.n() * design_.c();
    const double s = signs_ * gamma_;
    AdmmSteps& steps = design_.steps();
    const T* e = a; // a_1 - a_2
    if (signs_ == 2) {
        steps.subtract(half, a, a + half, e_.data());
        e = e_.data();
    }
    if (form_ == Form::rows) { // p = (I + s H)^-1 (b - F a);  u = a + gamma F'p;  F u = b - p
        design_.forward(e, z_.data());
        steps.subtract(m, b, z_.data(), z_.data());
        system_.solve(z_.data(), zeta);
        design_.adjoint(zeta, g_.data());
        steps.subtract(m, b, zeta, zeta);
        steps.step_halves(half, signs_, gamma_, a, g_.data(), u);
        return;
    }
    // (I + s Fh'Fh) delta = e + s Fh'b;  u = (sum +- delta) / 2
    if (b != fixed_) design_.adjoint(b, target_.data());
    if (signs_ == 1) steps.copy(half, a, e_.data());
    steps.add_scaled(half, s, target_.data(), e_.data());
    T* delta = f_.data();
    if (form_ == Form::iterative) {
        delta = delta_.data();
        cg(e_.data(), delta, tolerance);
    } else {
        system_.solve(e_.data(), delta); // weights (c, P, d) are c rows of length P d
    }
    steps.join_halves(half, signs_, a, delta, u);
    if (want_zeta) design_.forward(delta, zeta);
}

template <class T> void GraphProjection<T>::fix_target(const T* b) {
    fixed_ = b; // null: b changes from call to call
    if (b && form_ != Form::rows) design_.adjoint(b, target_.data());
}

template <class T> void GraphProjection<T>::apply(const T* x, T* y) {
    design_.forward(x, z_.data());
    design_.adjoint(z_.data(), y);
    const T s = static_cast<T>(signs_ * gamma_);
    for (index_t i = 0; i < design_.half(); ++i) y[i] = x[i] + s * y[i];
}

// Preconditioned conjugate gradients for all c outputs in lockstep.
template <class T> void GraphProjection<T>::cg(const T* rhs, T* x, double tolerance) {
    const index_t d = design_.d(), p = design_.n_gates(), c = design_.c(), m = p * d;
    const int threads = design_.threads();
    std::vector<T> r(rhs, rhs + c * m), y(r.size()), q(r.size());
    const auto precondition = [&] {
        std::copy(r.begin(), r.end(), y.begin());
        parallel_for(p, threads, [&](index_t i) {
            const T* block = blocks_.data() + i * d * d;
            for (index_t k = 0; k < c; ++k) potrs(d, 1, block, d, y.data() + k * m + i * d, 1);
        });
    };
    std::vector<double> goal(c), rho(c);
    apply(x, g_.data());
    for (index_t k = 0; k < c; ++k)
        goal[k] = tolerance * std::sqrt(double(dot(m, rhs + k * m, rhs + k * m)));
    for (std::size_t i = 0; i < r.size(); ++i) r[i] -= g_.data()[i];
    precondition();
    q = y;
    for (index_t k = 0; k < c; ++k) rho[k] = dot(m, r.data() + k * m, y.data() + k * m);
    for (int iteration = 0; iteration < 500; ++iteration) {
        bool done = true;
        for (index_t k = 0; k < c; ++k)
            done = done && std::sqrt(double(dot(m, r.data() + k * m, r.data() + k * m))) <= goal[k];
        if (done) return;
        ++cg_iterations_;
        apply(q.data(), g_.data());
        for (index_t k = 0; k < c; ++k) {
            const double curvature = dot(m, q.data() + k * m, g_.data() + k * m);
            if (!(curvature > 0) || !(rho[k] > 0)) continue;
            const T alpha = static_cast<T>(rho[k] / curvature);
            axpy(m, alpha, q.data() + k * m, x + k * m);
            axpy(m, -alpha, g_.data() + k * m, r.data() + k * m);
        }
        precondition();
        for (index_t k = 0; k < c; ++k) {
            const double next = dot(m, r.data() + k * m, y.data() + k * m);
            const T ratio = rho[k] > 0 ? static_cast<T>(next / rho[k]) : T(0);
            rho[k] = next;
            for (index_t i = 0; i < m; ++i) q[k * m + i] = y[k * m + i] + ratio * q[k * m + i];
        }
    }
}

template class GraphProjection<double>;
template class GraphProjection<float>;

} // namespace fastopt
