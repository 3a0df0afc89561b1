// The design of the convex program and the linear system that it leads to, without ever storing
// F = [D_1 X .. D_P X, -D_1 X .. -D_P X] (`signs` = 2) or F = [D_1 X .. D_P X] (`signs` = 1).
//
// Layouts: weights (signs, c, P, d), predictions (c, n), gates D (P, n) of 0 and 1. Pointers point
// where the kernels run.
#pragma once

#include <memory>

#include "admm_relu/admm_steps.hpp"
#include "admm_relu/symmetric.hpp"
#include "core/types.hpp"

namespace fastopt {

// Fh = [D_1 X .. D_P X] and its transpose, for c outputs at once.
template <class T> class Design {
  public:
    // Keeps the pointers: X (n x d), D (P x n).
    Design(index_t n, index_t d, index_t n_gates, index_t c, const T* x, const T* gates,
           int threads, std::shared_ptr<Queue> queue = make_queue(), const Sharing& sharing = {});

    void forward(const T* e, T* z); // z_k = sum_i D_i X e_ki: 2 n P d c flops
    void adjoint(const T* q, T* g); // g_ki = X' D_i q_k: 2 n P d c flops

    // Fh Fh' = (X X') o (D'D) into the upper triangle: n^2 (d + P) flops.
    void gram_rows(T* h, T* diagonal) const;
    // Fh' Fh, blocks X' D_i D_j X, into the upper triangle: n (d P)^2 flops.
    void gram_columns(T* h, T* diagonal) const;
    // scale X' D_i X for one gate (d x d, lower triangle); of the rank's own samples.
    void gate_gram(index_t gate, T scale, T* h) const;
    bool long_gate() const; // whether that is work for all threads

    index_t n() const { return n_; }
    index_t d() const { return d_; }
    index_t n_gates() const { return p_; }
    index_t c() const { return c_; }
    index_t half() const { return c_ * p_ * d_; } // length of (c, P, d)
    const T* x() const { return x_; }
    const T* gates() const { return gates_; }
    int threads() const { return steps_.threads(); }
    AdmmSteps& steps() { return steps_; }
    const Sharing& sharing() const { return steps_.sharing(); }

  private:
    void forward_own(const T* e, T* z); // of the rank's gates
    void adjoint_own(const T* q, T* g); // of its samples

    index_t n_, d_, p_, c_;
    const T *x_, *gates_;
    AdmmSteps steps_;
    int threads_;
    Array<T> work_; // (c P, n), or (c, n) for one column
};

// The dense system I + s H, H = Fh Fh' or Fh' Fh, solved again and again for changing s: by an
// explicit inverse, on the CPU beyond an order of 4096 by the Cholesky factor.
template <class T> class GramSystem {
  public:
    GramSystem() = default;
    GramSystem(Design<T>& design, bool of_rows);

    void factorise(double s);       // BackendError when I + s H is not definite in this precision
    void solve(const T* rhs, T* x); // c right-hand sides, rows

  private:
    Design<T>* design_ = nullptr;
    index_t size_ = 0;
    bool explicit_inverse_ = false;
    Array<T> matrix_;    // CPU: strict upper triangle H, lower factor or inverse; CUDA: lower H
    Array<T> inverse_;   // CUDA: both triangles
    Buffer<T> diagonal_; // CPU: of H
    SymmetricProduct<T> product_;
};

// The blocks I + s X' D_i X of the gates on the diagonal of I + s Fh' Fh.
template <class T> class GateBlocks {
  public:
    explicit GateBlocks(Design<T>& design);

    void factorise(double s);
    void solve(const T* rhs, T* x); // c right-hand sides, rows

  private:
    Design<T>* design_;
    Array<T> blocks_; // CPU: Cholesky factors; CUDA: inverses
};

// The system I + s Fh' Fh without storing it: conjugate gradients for all c outputs in lockstep,
// with the gates' own blocks as the preconditioner.
template <class T> class ConjugateGradients {
  public:
    explicit ConjugateGradients(Design<T>& design);

    void factorise(double s); // the preconditioner
    // From x. `tolerance`: of the residual, relative to the right-hand side.
    void solve(const T* rhs, T* x, double tolerance);
    index_t iterations = 0;

  private:
    void apply(const T* x, T* y);                                // y = (I + s Fh'Fh) x
    void dots(const T* a, const T* b, const Array<double>& out); // of each output

    Design<T>& design_;
    double s_ = 0;
    GateBlocks<T> blocks_;
    Array<T> z_, g_, r_, y_, q_; // F x; (I + s Fh'Fh) q; residual, preconditioned; direction
    Array<double> rest_, rho_, next_, curvature_; // r'r, r'y before and after, q'g; of each output
};

[[noreturn]] void not_definite(); // the BackendError of factorise

// Projection on the graph of F: given (a, b), the u that minimises
//     ||u - a||^2 + gamma ||F u - b||^2,   and zeta = F u.
// Rotating (u_1, u_2) to sum and difference leaves one system of size n or d P, whichever is
// smaller; when neither fits into `max_dense`, conjugate gradients with the gates' own blocks as
// the preconditioner.
template <class T> class GraphProjection {
  public:
    GraphProjection(Design<T>& design, int signs, index_t max_dense);

    void set(double gamma); // refactors when gamma changed
    // zeta is filled when it is wanted or costs nothing. `tolerance` is that of the iterative form.
    void project(const T* a, const T* b, T* u, T* zeta, bool want_zeta, double tolerance);
    void fix_target(const T* b); // promises that this b never changes; null takes it back

    enum class Form { rows, columns, iterative };
    Form form() const { return form_; }
    index_t factorisations() const { return factorisations_; }
    index_t cg_iterations() const;

  private:
    void factorise();

    Design<T>& design_;
    int signs_;
    Form form_;
    index_t size_ = 0;
    double gamma_ = -1;
    index_t factorisations_ = 0;
    GramSystem<T> system_;
    Array<T> e_, f_, g_, z_; // work
    Array<T> target_;        // Fh'b
    const T* fixed_ = nullptr;
    std::unique_ptr<ConjugateGradients<T>> iterative_; // from the last solution, in f, on
};

} // namespace fastopt
