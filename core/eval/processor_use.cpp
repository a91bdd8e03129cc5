// SPDX-License-Identifier: Apache-2.0
#include "core/eval/processor_use.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

namespace bitlathe {

std::optional<ProcessorUse::Ticks> ProcessorUse::read() {
  Ticks out;
  std::ifstream machine("/proc/stat");
  std::string word;
  if (!(machine >> word) || word != "cpu")
    return std::nullopt;
  // user nice system idle iowait irq softirq steal; guests are counted in the first two already
  double field[8] = {};
  for (double& value : field)
    if (!(machine >> value))
      return std::nullopt;
  for (int i = 0; i < 8; ++i) {
    out.all += field[i];
    if (i != 3 && i != 4)
      out.busy += field[i];
  }
  std::ifstream process("/proc/self/stat");
  std::string line;
  std::getline(process, line);
  const auto name_end = line.rfind(')'); // a program's name may contain anything
  if (name_end == std::string::npos)
    return std::nullopt;
  std::size_t at = name_end + 1;
  for (int number = 3; number <= 15; ++number) { // utime and stime are the 14th and 15th
    at = line.find_first_not_of(' ', at);
    if (at == std::string::npos)
      return std::nullopt;
    const auto end = std::min(line.find(' ', at), line.size());
    if (number >= 14)
      out.own += std::strtod(line.c_str() + at, nullptr);
    at = end;
  }
  return out;
}

ProcessorUse::ProcessorUse() : begin_(read()) {}

std::optional<double> ProcessorUse::others() const {
  const auto now = read();
  if (!begin_ || !now)
    return std::nullopt;
  const double all = now->all - begin_->all;
  if (all < 20) // a tick is a hundredth of a second
    return std::nullopt;
  const double others = (now->busy - begin_->busy) - (now->own - begin_->own);
  return std::clamp(others / all, 0.0, 1.0);
}

} // namespace bitlathe
