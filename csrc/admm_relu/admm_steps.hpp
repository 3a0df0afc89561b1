// What each line of admm_relu's loops does to whole arrays: the kernel seam, with the classes whose
// methods a backend defines too (Design, GramSystem, ConeProjector, Loss, newton_direction).
// Defined on the CPU by admm_steps.cpp, design.cpp, cone_projection.cpp, loss_rows.cpp and
// newton.cpp, for CUDA by admm_steps.cu; the backend is chosen at link time. Pointers point where
// the kernels run (backend/queue.hpp); counts, scalars and what is returned belong to the host.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/queue.hpp"
#include "core/communicator.hpp"

namespace fastopt {

struct ActiveSets;

// Ranks that share a program: each has a part of the gates with their weights and all samples, or a
// part of the samples and all weights. Sums over what is shared go over the ranks (on the CPU).
struct Sharing {
    Communicator *weights = nullptr, *samples = nullptr; // one of them, or none

    Communicator* comm() const { return weights ? weights : samples; }
    // What one rank of so many adds to a sum over ranks of numbers that all have.
    double share_of_all(const Communicator* shared) const {
        return !shared && comm() ? 1.0 / comm()->size() : 1.0;
    }
};

class AdmmSteps {
  public:
    AdmmSteps(std::shared_ptr<Queue> queue, int threads, const Sharing& sharing = {})
        : queue_(std::move(queue)), threads_(threads), sharing_(sharing) {}

    const std::shared_ptr<Queue>& queue() const { return queue_; }
    const Sharing& sharing() const { return sharing_; }
    int threads() const { return threads_; }
    template <class T> Array<T> array(index_t n) const { return Array<T>(queue_, n); }
    template <class T> void copy(index_t n, const T* from, T* to) {
        if (n) fastopt::copy(*queue_, to, from, static_cast<std::size_t>(n) * sizeof(T));
    }

    // ---- number by number (admm_functors.inl) ----
    template <class A, class B> void convert(index_t n, const A* from, B* to);   // to = from
    template <class T> void subtract(index_t n, const T* a, const T* b, T* out); // out = a - b
    template <class T> void add(index_t n, const T* a, const T* b, T* out);      // out = a + b
    void scale(index_t n, double s, const double* x, double* out);               // out = s x
    void scaled_difference(index_t n, double s, const double* a, const double* b,
                           double* out); // out = s (a - b)
    template <class T> void reflect(index_t n, const double* x, const double* r, T* out); // 2x - r
    // rn = r + factor (u - x)
    template <class T>
    void relax(index_t n, double factor, const T* r, const T* u, const double* x, T* rn);
    void gradient_step(index_t n, double rho, const double* x, double* g); // g = x - g / rho
    template <class T>                                                     // r = f + t / rho
    void add_multiplier(index_t n, double rho, const double* f, const double* t, T* r);
    void between(index_t n, double t, const double* a, const double* b,
                 double* out); // a + t (b - a)
    template <class T>         // r = x + (rn - x) / factor
    void rescale(index_t n, double factor, const double* x, const T* rn, T* r);
    template <class T> void add_scaled(index_t n, double s, const T* x, T* e);    // e += s x
    template <class T> void scale_and_add(index_t n, double s, const T* x, T* y); // y = x + s y
    template <class T> // to = from' for `count` matrices, rows x columns
    void transpose(index_t count, index_t rows, index_t columns, const T* from, T* to);
    // u_1, u_2 = a_1 + s g, a_2 - s g, and (a_1 + a_2 +- delta) / 2; or u_1 alone, and delta.
    template <class T>
    void step_halves(index_t half, int signs, double s, const T* a, const T* g, T* u);
    template <class T> void join_halves(index_t half, int signs, const T* a, const T* delta, T* u);
    template <class T> // (g, rn) become the last ones, and their differences dg (from g) and dr
    void next_differences(index_t n, const T* rn, T* last_rn, T* last_g, T* dg, T* dr);

    // ---- sums ----
    double dot(index_t n, const double* a, const double* b);
    struct Distances {
        double length, from_state, from_last,
            from_y; // ||x||, ||state - x||, ||x - last||, ||x - y||
    };
    template <class T>
    Distances distances(index_t n, const double* state, const double* x, const double* last,
                        const T* y);
    // <a, b> with the weight w1 for the first n1 numbers and w2 for the n2 behind them.
    template <class T>
    double inner(index_t n1, index_t n2, const T* a, const T* b, double w1, double w2);
    // The same of `count` rows with a and with b.
    template <class T>
    void inners(index_t count, const T* rows, index_t n1, index_t n2, const T* a, const T* b,
                double w1, double w2, double* with_a, double* with_b);
    // r -= sum_j gamma_j row_j
    template <class T>
    void subtract_rows(index_t count, const double* gamma, const T* rows, index_t n, T* r);

    // ---- rows of n numbers, each with scalars of its own, which are where the kernels run ----
    template <class T> // out_k = <a_k, b_k>
    void row_dots(index_t count, index_t n, const T* a, const T* b, double* out);
    // x_k += alpha q_k and r_k -= alpha g_k, alpha = rho_k / curvature_k where both are positive
    template <class T>
    void advance_rows(index_t count, index_t n, const double* rho, const double* curvature,
                      const T* q, const T* g, T* x, T* r);
    // q_k = y_k + next_k / rho_k q_k, or y_k where rho_k is not positive
    template <class T>
    void turn_rows(index_t count, index_t n, const double* rho, const double* next, const T* y,
                   T* q);

    // ---- blocks of w numbers ----
    void block_norms(index_t blocks, index_t w, const double* v, double* norm);
    double sum_of_norms(index_t blocks, index_t w, const double* v);
    double largest(index_t n, const double* x); // at least 0
    // to_b = prox of level ||.|| at from_b, whose norm is norm_b.
    void shrink(index_t blocks, index_t w, double level, const double* norm, const double* from,
                double* to);
    // One number for which blocks are longer than `level` and which of their rows are active.
    std::uint64_t signature(index_t blocks, const double* norm, double level,
                            const ActiveSets& sets);

    double* scratch(index_t n) { // for partial sums
        if (scratch_.size() < n) scratch_ = Array<double>(queue_, n);
        return scratch_.data();
    }

  private:
    std::shared_ptr<Queue> queue_;
    int threads_;
    Sharing sharing_;
    Array<double> scratch_;
    Array<double> coefficients_; // CUDA: of subtract_rows
};

} // namespace fastopt
