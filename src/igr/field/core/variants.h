// The instruction sets that the kernels are compiled for, and which of them this processor has.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace igr {

// Names of the usable ones, best last.
std::vector<std::string> instruction_sets();
// What fills in the kernels of an instruction set. Throws std::invalid_argument if it is not usable here.
FillKernels find_kernels(const std::string& instruction_set);
// Multiplications and additions a second that `threads` threads do in registers, in 10^9: the median thread's rate
// times their number, the best of several tries.
double peak_rate(const std::string& instruction_set, int threads);

}  // namespace igr
