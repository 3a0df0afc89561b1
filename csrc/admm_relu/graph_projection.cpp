// The projection on the graph of F, of the same form for every backend.
#include <algorithm>

#include "admm_relu/design.hpp"
#include "core/error.hpp"

namespace fastopt {

void not_definite() {
    throw BackendError("the system I + gamma F'F is not positive definite in this precision: "
                       "raise beta or rho, scale X, or use dtype='float64'");
}

template <class T>
GraphProjection<T>::GraphProjection(Design<T>& design, int signs, index_t max_dense)
    : design_(design), signs_(signs) {
    const index_t n = design.n(), m = design.n_gates() * design.d(), c = design.c();
    // The system of the rows couples all samples, that of the columns all gates: the ranks add up
    // one of them, with a part of what it does not couple each.
    const Sharing& sharing = design.sharing();
    const bool of_rows = sharing.comm() ? sharing.weights != nullptr : n <= m;
    size_ = of_rows ? n : m;
    form_ = size_ > max_dense ? Form::iterative : of_rows ? Form::rows : Form::columns;
    const AdmmSteps& steps = design.steps();
    const index_t half = design.half();
    e_ = steps.array<T>(half), g_ = steps.array<T>(half), z_ = steps.array<T>(c * n);
    if (form_ != Form::rows) f_ = steps.array<T>(half), target_ = steps.array<T>(half);
    if (form_ == Form::iterative) {
        iterative_ = std::make_unique<ConjugateGradients<T>>(design);
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
    const double s = signs_ * gamma_;
    iterative_ ? iterative_->factorise(s) : system_.factorise(s);
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
    T* delta = f_.data(); // weights (c, P, d) are c rows of length P d
    iterative_ ? iterative_->solve(e_.data(), delta, tolerance) : system_.solve(e_.data(), delta);
    steps.join_halves(half, signs_, a, delta, u);
    if (want_zeta) design_.forward(delta, zeta);
}

template <class T> void GraphProjection<T>::fix_target(const T* b) {
    fixed_ = b; // null: b changes from call to call
    if (b && form_ != Form::rows) design_.adjoint(b, target_.data());
}

template <class T> index_t GraphProjection<T>::cg_iterations() const {
    return iterative_ ? iterative_->iterations : 0;
}

template class GraphProjection<double>;
template class GraphProjection<float>;

} // namespace fastopt
