// The queue as Python holds it.
#pragma once

#include <memory>

#include "backend/queue.hpp"

namespace fastopt {

struct PyQueue { // in which everything of one solve runs
    std::shared_ptr<Queue> queue = make_queue();
};

} // namespace fastopt
