// The kernels as compiled for one instruction set. csrc/kernels.cpp is compiled once per level and
// defines one `Kernels`; csrc/core/isa.hpp says which one this CPU gets.
#pragma once

#include "cbo/cbo_kernels.hpp"
#include "core/isa.hpp"
#include "core/random.hpp"
#include "sketch_newton/sketch_kernels.hpp"

namespace fastopt {

struct Kernels {
    RandomKernels random;
    CboKernels<double> cbo_f64;
    CboKernels<float> cbo_f32;
    SketchKernels<double> sketch_f64;
    SketchKernels<float> sketch_f32;
};

const Kernels& kernels();

template <class T> const CboKernels<T>& cbo_kernels();

} // namespace fastopt
