// What the CUDA backend says about itself; for `fastopt info` and error messages.
#pragma once

#include <string>

namespace fastopt {

struct CudaInfo {
    bool available = false;
    std::string reason;          // why not
    std::string device;          // its name
    std::string runtime, driver; // versions; driver empty: none is installed
};
CudaInfo cuda_info();

} // namespace fastopt
