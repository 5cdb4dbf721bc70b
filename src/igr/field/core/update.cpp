// From the derivatives of the last backward pass to new parameters.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "core.h"

namespace igr {

// Rows that a task keeps the derivatives of, at most: its working memory.
constexpr int64_t kPartRows = int64_t(1) << 21;

void Core::need_backward() const {
  if (!derived_) throw std::runtime_error("there are no derivatives: call forward and backward first");
}

void Core::need_moments() {
  if (moments_.first.size() == values.size()) return;
  Moments cleared{Floats(values.size()), Floats(values.size())};
  moments_ = std::move(cleared);
}

const Core::Moments& Core::moments() {
  const Lock lock(mutex_);
  need_moments();
  return moments_;
}

// The network's derivatives from the groups' sums, added in order.
void Core::collect_sums() {
  float* total = sums_.data();
  if (groups_ == 0) memset(total, 0, sizeof(float) * size_t(sums_floats_));
  for (int group = 1; group < groups_; group++)
    for (int64_t i = 0; i < sums_floats_; i++) total[i] += total[group * sums_floats_ + i];
  groups_ = 1;
  const Sums sums = sums_in(total);
  const float* from[] = {sums.weight1, sums.bias1, sums.weight2, sums.bias2, sums.weight3, sums.bias3};
  for (size_t k = 0; k < std::size(from); k++) {
    const Place& place = places_[k];
    float* to = gradient_.data() + place.offset;
    if (place.columns == 0) memcpy(to, from[k], sizeof(float) * size_t(place.rows));
    for (int64_t r = 0; r < place.rows; r++)
      for (int64_t c = 0; c < place.columns; c++) to[r * place.columns + c] = from[k][c * place.rows + r];
  }
}

// The levels that are on, finest first; large ones, and few ones for many threads, in several parts.
std::vector<Core::Part> Core::parts() const {
  const auto is_on = [](const Level& level) { return level.weight != 0; };
  const int64_t levels = std::count_if(shape_.levels.begin(), shape_.levels.end(), is_on);
  std::vector<Part> parts;
  for (int l = int(shape_.levels.size()) - 1; l >= 0; l--) {
    const Level& level = shape_.levels[size_t(l)];
    if (!is_on(level)) continue;
    const int64_t rows = level.rows;
    const int64_t count = std::max((2 * shape_.threads + levels - 1) / levels, (rows + kPartRows - 1) / kPartRows);
    for (int64_t k = 0; k < count; k++)
      parts.push_back({l, int32_t(rows * k / count), int32_t(rows * (k + 1) / count)});
  }
  return parts;
}

// Room for the derivatives of any of the parts with each of the first `workers`: tasks take no memory of their
// own.
void Core::reserve_rows(const std::vector<Part>& parts, int workers) const {
  int64_t size = 0;
  for (const Part& part : parts) {
    const int64_t rows = int64_t(rows_before(part)) + part.last_row - part.first_row + 1;
    size = std::max(size, round_up(rows * shape_.features, kBlock));
  }
  for (int i = 0; i < workers; i++) {
    Worker& worker = *workers_[size_t(i)];
    if (worker.rows.size() >= size) continue;
    Floats rows(size);
    worker.marks.assign(size_t(size / kBlock), 0);
    worker.rows = std::move(rows);
  }
}

// A part's derivatives, all 0, in the room that is reserved.
RowSums Core::row_sums(Worker& worker, const Part& part) const {
  return {worker.rows.data(), worker.marks.data(), part.first_row, part.last_row - part.first_row,
          rows_before(part)};
}

// Sums the derivatives of a part's rows, point after point.
void Core::scatter(const Part& part, const RowSums& sums) const {
  const int row = shape_.dimension + part.level * shape_.features;
  for (int64_t i = 0; i * kTile < pending_; i++) {
    const Tile at = tile(i);
    kernels_.scatter(shape_.levels[size_t(part.level)], shape_.bound, sums, at.inputs, at.dgradient,
                     at.dinputs + row * kTile, at.sensitivity + row * kTile);
  }
}

void Core::adam(float table_rate, float network_rate, float beta1, float beta2, float epsilon) {
  const Lock lock(mutex_);
  need_backward();
  need_moments();
  float *first = moments_.first.data(), *second = moments_.second.data();
  const std::vector<Part> tasks = parts();
  reserve_rows(tasks, std::min(shape_.threads, int(tasks.size()) + 1));
  step_count_++;
  const double correction1 = 1 - std::pow(double(beta1), double(step_count_));
  const double correction2 = 1 - std::pow(double(beta2), double(step_count_));
  const AdamStep network_step{float(network_rate / correction1), float(1 / std::sqrt(correction2)), beta1, beta2,
                              epsilon};
  AdamStep table_step = network_step;
  table_step.rate = float(table_rate / correction1);
  ThreadPool::shared().run(1 + int(tasks.size()), shape_.threads, [&](int task, int thread) {
    Worker& worker = *workers_[size_t(thread)];
    clock(worker);
    if (task == 0) {
      collect_sums();
      clock(worker, kMlp);
      kernels_.adam(network_step, values.data(), first, second, gradient_.data(), table_start_);
      clock(worker, kAdam);
      return;
    }
    const Part& part = tasks[size_t(task - 1)];
    const RowSums sums = row_sums(worker, part);
    scatter(part, sums);
    clock(worker, kScatter);
    const int64_t begin = table_at(part) - sums.offset * shape_.features;
    kernels_.adam_rows(table_step, values.data() + begin, first + begin, second + begin, sums);
    clock(worker, kAdam);
  });
  pending_ = -1;
  derived_ = false;
}

const Floats& Core::gradient() {
  const Lock lock(mutex_);
  need_backward();
  const std::vector<Part> all = parts();
  reserve_rows(all, 1);
  if (gradient_.size() < values.size()) gradient_ = Floats(values.size());
  collect_sums();
  memset(gradient_.data() + table_start_, 0,
         sizeof(float) * size_t(values.size() - table_start_));  // levels that are off
  for (const Part& part : all) {
    const RowSums sums = row_sums(*workers_[0], part);
    scatter(part, sums);
    const int64_t begin = sums.offset * shape_.features, count = sums.rows * shape_.features;
    memcpy(gradient_.data() + table_at(part), sums.values + begin, sizeof(float) * size_t(count));
    memset(sums.values, 0, sizeof(float) * size_t(begin + count + shape_.features));
    memset(sums.marks, 0, size_t((begin + count) / kBlock + 1));
  }
  return gradient_;
}

}  // namespace igr
