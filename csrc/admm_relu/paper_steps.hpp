// What each line of the published splitting (paper_admm.cpp) does to all blocks: a kernel seam,
// defined by paper_steps.cpp and by paper_steps.cu.
#pragma once

#include "admm_relu/program.hpp"

namespace fastopt {

[[noreturn]] void no_cone_system(); // the BackendError of factor

template <class T> class PaperSteps {
  public:
    explicit PaperSteps(Program& program);

    // C C' = rv I + rs X'X, and the design X C'^-1; BackendError where C does not exist.
    void factor(double rv, double rs);
    Design<T>& design() { return *design_; } // of the last factor
    // a = C^-1 (rv (v - lambda) + rs G'|q|)
    void right_hand_side(double rv, double rs);

    struct Sums {
        double off_v, size_v; // ||u - v||^2, ||v||^2
        double off_s, size_s; // ||G u - s||^2, ||s||^2
        double moved, size_l; // ||v - its last value||^2, ||lambda||^2
    };
    // From the projection ut: u = C'^-1 ut, v = shrink(u + lambda), lambda += u - v, and with cones
    // q = G u - q_- and G'|q|.
    Sums advance(double level);

    struct Squares {
        double s, nu; // of the two parts of q
    };
    Squares cone_squares();
    void rescale_cones(double factor); // q_- /= factor; G'|q|

    // What the neurons of v predict: sums of +-(X v_b)_+.
    void relu_predict(const double* at, double* z);

    Array<T> a, ut;
    Array<double> v, lambda;

  private:
    Program& program_;
    AdmmSteps& steps_;
    const index_t n_, d_, p_, nb_;
    Array<T> x_, gates_, xt_, factor_; // factor_: C, on CUDA its inverse
    Array<T> u_, gq_, q_, work_;       // work_: a row of n for each block
    Buffer<double> last_;              // CPU: the last v
    Array<double> pre_;                // CUDA: X v_b of each block
    std::unique_ptr<Design<T>> design_;
};

} // namespace fastopt
