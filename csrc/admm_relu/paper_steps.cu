// The published splitting's steps on a CUDA device. The factor C of the cones' system is inverted:
// products instead of triangular solves.
#include "admm_relu/admm_launch.cuh"
#include "admm_relu/paper_cuda.cuh"
#include "admm_relu/paper_steps.hpp"

namespace fastopt {

template <class T> void PaperSteps<T>::factor(double rv, double rs) {
    Queue& queue = *steps_.queue();
    const index_t n = n_, d = d_;
    const auto c = steps_.array<T>(d * d);
    gemm<T>(queue, true, false, d, d, n, static_cast<T>(rs), x_.data(), d, x_.data(), d, T(0),
            c.data(), d);
    each(steps_, d, AddToDiagonal<T>{rv, d, c.data()});
    if (!potrf<T>(queue, d, c.data(), d)) no_cone_system();
    each(steps_, d * d, Identity<T>{d, factor_.data()});
    trsm<T>(queue, true, false, d, d, c.data(), d, factor_.data(), d);
    gemm<T>(queue, false, true, n, d, d, T(1), x_.data(), d, factor_.data(), d, T(0), xt_.data(),
            d);
    if (!design_)
        design_ = std::make_unique<Design<T>>(n, d, p_, program_.shape.c, xt_.data(), gates_.data(),
                                              program_.threads(), steps_.queue());
}

template <class T> void PaperSteps<T>::right_hand_side(double rv, double rs) {
    each(steps_, nb_ * d_,
         PaperRightHandSide<T>{rv, rs, v.data(), lambda.data(), gq_.data(), u_.data()});
    gemm<T>(*steps_.queue(), false, true, nb_, d_, d_, T(1), u_.data(), d_, factor_.data(), d_,
            T(0), a.data(), d_);
}

template <class T> typename PaperSteps<T>::Sums PaperSteps<T>::advance(double level) {
    Queue& queue = *steps_.queue();
    gemm<T>(queue, false, false, nb_, d_, d_, T(1), ut.data(), d_, factor_.data(), d_, T(0),
            u_.data(), d_);
    const index_t grid = std::min(blocks_for(nb_ * warp_size), sum_blocks);
    Four* part = parts<Four>(steps_);
    launch(queue.stream(), grid, block_size, warps_of_block * sizeof(Four), paper_shrink<T>, nb_,
           d_, level, u_.data(), v.data(), lambda.data(), part);
    const Four block = folded<Four, Plus>(steps_, grid, part);
    Four cone = {};
    if (program_.shape.cone) {
        gemm<T>(queue, false, true, nb_, n_, d_, T(1), u_.data(), d_, x_.data(), d_, T(0),
                work_.data(), n_);
        cone = reduce<Four, Plus>(
            steps_, nb_ * n_, PaperConeTerms<T>{{n_, p_, gates_.data(), q_.data(), work_.data()}});
        gemm<T>(queue, false, false, nb_, d_, n_, T(1), work_.data(), n_, x_.data(), d_, T(0),
                gq_.data(), d_);
    }
    return {block.a, block.b, cone.a, cone.b, block.c, block.d};
}

template <class T> typename PaperSteps<T>::Squares PaperSteps<T>::cone_squares() {
    const Four s = reduce<Four, Plus>(steps_, nb_ * n_, PaperSquares<T>{q_.data()});
    return {s.a, s.b};
}

template <class T> void PaperSteps<T>::rescale_cones(double factor) {
    each(steps_, nb_ * n_,
         PaperRescaleEach<T>{{factor, n_, p_, gates_.data(), q_.data(), work_.data()}});
    gemm<T>(*steps_.queue(), false, false, nb_, d_, n_, T(1), work_.data(), n_, x_.data(), d_, T(0),
            gq_.data(), d_);
}

template <class T> void PaperSteps<T>::relu_predict(const double* at, double* z) {
    const ProgramShape& s = program_.shape;
    if (pre_.size() == 0) pre_ = steps_.array<double>(nb_ * n_);
    gemm<double>(*steps_.queue(), false, true, nb_, n_, d_, 1.0, at, d_, program_.kernel_x.data(),
                 d_, 0.0, pre_.data(), n_);
    each(steps_, s.c * n_, ReluSum{n_, p_, s.c, s.signs, pre_.data(), z});
}

#include "admm_relu/paper_steps.inl"
FASTOPT_PAPER_STEPS(double)
FASTOPT_PAPER_STEPS(float)

} // namespace fastopt
