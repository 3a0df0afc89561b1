// The system of the graph projection by preconditioned conjugate gradients, for every backend.
#include <cmath>
#include <utility>
#include <vector>

#include "admm_relu/design.hpp"

namespace fastopt {
namespace {

constexpr int most_iterations = 500;

} // namespace

template <class T>
ConjugateGradients<T>::ConjugateGradients(Design<T>& design) : design_(design), blocks_(design) {
    const AdmmSteps& steps = design.steps();
    const index_t size = design.half(), c = design.c();
    z_ = steps.array<T>(c * design.n());
    for (Array<T>* a : {&g_, &r_, &y_, &q_}) *a = steps.array<T>(size);
    for (Array<double>* a : {&rest_, &rho_, &next_, &curvature_}) *a = steps.array<double>(c);
}

template <class T> void ConjugateGradients<T>::factorise(double s) {
    s_ = s;
    blocks_.factorise(s);
}

template <class T> void ConjugateGradients<T>::apply(const T* x, T* y) {
    design_.forward(x, z_.data());
    design_.adjoint(z_.data(), y);
    design_.steps().scale_and_add(design_.half(), s_, x, y);
}

template <class T>
void ConjugateGradients<T>::dots(const T* a, const T* b, const Array<double>& out) {
    const index_t c = design_.c();
    design_.steps().row_dots(c, design_.half() / c, a, b, out.data());
    sum_over_ranks(design_.sharing().weights, out.data(), c);
}

template <class T> void ConjugateGradients<T>::solve(const T* rhs, T* x, double tolerance) {
    AdmmSteps& steps = design_.steps();
    const index_t size = design_.half(), c = design_.c(), m = size / c;
    dots(rhs, rhs, rest_);
    std::vector<double> goal(rest_.fetch(), rest_.mirror() + c);
    for (double& g : goal) g = tolerance * std::sqrt(g);
    apply(x, g_.data());
    steps.subtract(size, rhs, g_.data(), r_.data());
    blocks_.solve(r_.data(), y_.data());
    steps.copy(size, y_.data(), q_.data());
    dots(r_.data(), y_.data(), rho_);
    for (int iteration = 0; iteration < most_iterations; ++iteration) {
        dots(r_.data(), r_.data(), rest_);
        const double* rest = rest_.fetch();
        bool done = true;
        for (index_t k = 0; k < c; ++k) done = done && std::sqrt(rest[k]) <= goal[k];
        if (done) return;
        ++iterations;
        apply(q_.data(), g_.data());
        dots(q_.data(), g_.data(), curvature_);
        steps.advance_rows(c, m, rho_.data(), curvature_.data(), q_.data(), g_.data(), x,
                           r_.data());
        blocks_.solve(r_.data(), y_.data());
        dots(r_.data(), y_.data(), next_);
        steps.turn_rows(c, m, rho_.data(), next_.data(), y_.data(), q_.data());
        std::swap(rho_, next_);
    }
}

template class ConjugateGradients<double>;
template class ConjugateGradients<float>;

} // namespace fastopt
