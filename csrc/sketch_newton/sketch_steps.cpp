// Sketches on the CPU, whose kernels read the host's numbers.
#include "sketch_newton/sketch_steps.hpp"

namespace fastopt {

template <class T>
void sketch(const std::shared_ptr<Queue>&, const DataMatrix<T>& a, const T* scale,
            const SketchOptions& options, T* out) {
    sketch(a, scale, options, out);
}

template void sketch(const std::shared_ptr<Queue>&, const DataMatrix<double>&, const double*,
                     const SketchOptions&, double*);
template void sketch(const std::shared_ptr<Queue>&, const DataMatrix<float>&, const float*,
                     const SketchOptions&, float*);

} // namespace fastopt
