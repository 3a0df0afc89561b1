// The system of the graph projection by preconditioned conjugate gradients, on the CPU.
#include <cmath>
#include <vector>

#include "admm_relu/design.hpp"
#include "core/error.hpp"
#include "core/parallel.hpp"

namespace fastopt {
namespace {

template <class T> class ConjugateGradients final : public IterativeSystem<T> {
  public:
    explicit ConjugateGradients(Design<T>& design)
        : design_(design), z_(design.c() * design.n()), g_(design.half()),
          blocks_(checked_product(design.n_gates() * design.d(), design.d())) {}

    void factorise(double s) override {
        s_ = static_cast<T>(s);
        const index_t d = design_.d();
        const int threads = design_.threads();
        const bool tiled = design_.long_gate(); // then a gate at a time, else gates in parallel
        const auto each_gate = [&](const auto& work) {
            if (!tiled) return parallel_for(design_.n_gates(), threads, work);
            for (index_t i = 0; i < design_.n_gates(); ++i) work(i);
        };
        each_gate([&](index_t i) { design_.gate_gram(i, s_, blocks_.data() + i * d * d); });
        sum_over_ranks(design_.sharing().samples, blocks_.data(), blocks_.size());
        each_gate([&](index_t i) {
            T* block = blocks_.data() + i * d * d;
            for (index_t k = 0; k < d; ++k) block[k * d + k] += T(1);
            if (!(tiled ? tiled_potrf(d, block, threads) : potrf(d, block, d))) not_definite();
        });
    }
    void solve(const T* rhs, T* x, double tolerance) override;

  private:
    void apply(const T* x, T* y) { // y = (I + s Fh'Fh) x
        design_.forward(x, z_.data());
        design_.adjoint(z_.data(), y);
        for (index_t i = 0; i < design_.half(); ++i) y[i] = x[i] + s_ * y[i];
    }

    Design<T>& design_;
    T s_ = 0;
    Buffer<T> z_, g_;  // work
    Buffer<T> blocks_; // a Cholesky factor for each gate
};

// Preconditioned conjugate gradients for all c outputs in lockstep.
template <class T> void ConjugateGradients<T>::solve(const T* rhs, T* x, double tolerance) {
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
    const auto dots = [&](const T* a, const T* b) { // of each output
        std::vector<double> out(c);
        for (index_t k = 0; k < c; ++k) out[k] = dot(m, a + k * m, b + k * m);
        sum_over_ranks(design_.sharing().weights, out.data(), c);
        return out;
    };
    apply(x, g_.data());
    std::vector<double> goal = dots(rhs, rhs);
    for (double& g : goal) g = tolerance * std::sqrt(g);
    for (std::size_t i = 0; i < r.size(); ++i) r[i] -= g_[static_cast<index_t>(i)];
    precondition();
    q = y;
    std::vector<double> rho = dots(r.data(), y.data());
    for (int iteration = 0; iteration < 500; ++iteration) {
        const std::vector<double> rest = dots(r.data(), r.data());
        bool done = true;
        for (index_t k = 0; k < c; ++k) done = done && std::sqrt(rest[k]) <= goal[k];
        if (done) return;
        ++this->iterations;
        apply(q.data(), g_.data());
        const std::vector<double> curvature = dots(q.data(), g_.data());
        for (index_t k = 0; k < c; ++k) {
            if (!(curvature[k] > 0) || !(rho[k] > 0)) continue;
            const T alpha = static_cast<T>(rho[k] / curvature[k]);
            axpy(m, alpha, q.data() + k * m, x + k * m);
            axpy(m, -alpha, g_.data() + k * m, r.data() + k * m);
        }
        precondition();
        const std::vector<double> next = dots(r.data(), y.data());
        for (index_t k = 0; k < c; ++k) {
            const T ratio = rho[k] > 0 ? static_cast<T>(next[k] / rho[k]) : T(0);
            rho[k] = next[k];
            for (index_t i = 0; i < m; ++i) q[k * m + i] = y[k * m + i] + ratio * q[k * m + i];
        }
    }
}

} // namespace

template <class T> std::unique_ptr<IterativeSystem<T>> conjugate_gradients(Design<T>& design) {
    return std::make_unique<ConjugateGradients<T>>(design);
}

template std::unique_ptr<IterativeSystem<double>> conjugate_gradients(Design<double>&);
template std::unique_ptr<IterativeSystem<float>> conjugate_gradients(Design<float>&);

} // namespace fastopt
