#include "residual.h"

#include <algorithm>
#include <utility>

#include "threads.h"

namespace igr {
namespace {

// Adds the value of one grid at one point to f, and its gradient to g unless that is null.
template <int D>
void add(const Bricks& grid, float bound, const float* x, float* f, float* g) {
  constexpr int64_t size = D == 3 ? kBrick * kBrick * kBrick : kBrick * kBrick;
  const float edge = float(grid.resolution), scale = edge / (2 * bound);
  int32_t cell[D];
  float share[D][2], slope[D];  // of the lower and the upper corner along each axis; d(place)/dx
  for (int a = 0; a < D; a++) {
    const float p = x[a] * scale + 0.5f * edge, clamped = p > 0 ? std::min(p, edge) : 0;
    cell[a] = std::min(int32_t(clamped), grid.resolution - 1);
    share[a][1] = clamped - float(cell[a]);
    share[a][0] = 1 - share[a][1];
    slope[a] = p == clamped ? scale : 0;
  }
  for (int c = 0; c < 1 << D; c++) {
    int64_t brick = 0, within = 0;
    for (int a = 0; a < D; a++) {
      const int32_t i = cell[a] + (c >> a & 1);
      brick = brick * grid.edge + i / kBrick;
      within = within * kBrick + i % kBrick;
    }
    const int64_t place = grid.bricks[brick];
    if (!place) continue;
    const float corner = grid.values[place * size + within];
    float weight = corner;
    for (int a = 0; a < D; a++) weight *= share[a][c >> a & 1];
    *f += weight;
    if (!g) continue;
    for (int a = 0; a < D; a++) {
      float turn = c >> a & 1 ? corner * slope[a] : -corner * slope[a];
      for (int b = 0; b < D; b++)
        if (b != a) turn *= share[b][c >> b & 1];
      g[a] += turn;
    }
  }
}

// The normal equations of one grid.
class Equations {
 public:
  Equations(const float* x, int64_t n, const float* turned, int resolution, float bound, float stiff)
      : turned_(turned), stiff_(stiff) {
    const float edge = float(resolution), scale = edge / (2 * bound);
    const int64_t bricks = resolution / kBrick + 1, step = resolution + 1;
    std::vector<int32_t> first(size_t(bricks * bricks * bricks), -1), number;
    const auto found = [&](const int32_t* corner) -> int32_t& {  // its number, -1 if it has none
      int64_t brick = 0, within = 0;
      for (int a = 0; a < 3; a++) {
        brick = brick * bricks + corner[a] / kBrick;
        within = within * kBrick + corner[a] % kBrick;
      }
      int32_t& place = first[size_t(brick)];
      if (place < 0) {
        place = int32_t(number.size() / kSize);
        number.resize(number.size() + kSize, -1);
      }
      return number[size_t(place) * kSize + size_t(within)];
    };
    rows_.resize(size_t(n));
    for (int64_t i = 0; i < n; i++) {
      int32_t cell[3], corner[3];
      for (int a = 0; a < 3; a++) {
        const float p = std::max(0.f, std::min(x[i * 3 + a] * scale + 0.5f * edge, edge));
        cell[a] = std::min(int32_t(p), resolution - 1);
        rows_[size_t(i)].t[a] = p - float(cell[a]);
      }
      for (int c = 0; c < 8; c++) {
        for (int a = 0; a < 3; a++) corner[a] = cell[a] + (c >> (2 - a) & 1);
        int32_t& known = found(corner);
        if (known < 0) {
          known = int32_t(corners.size());
          corners.push_back((corner[0] * step + corner[1]) * step + corner[2]);
        }
        rows_[size_t(i)].corner[c] = known;
      }
    }
    for (size_t at = 0; at < corners.size(); at++) {
      const int32_t corner[3] = {int32_t(corners[at] / step / step), int32_t(corners[at] / step % step),
                                 int32_t(corners[at] % step)};
      for (int a = 0; a < 3; a++) {
        int32_t next[3] = {corner[0], corner[1], corner[2]};
        if (++next[a] > resolution) continue;
        if (const int32_t other = found(next); other >= 0) beside_.emplace_back(int32_t(at), other);
      }
    }
  }

  // The right side, and the diagonal; `slope` in cells.
  void sides(const float* height, const std::vector<float>& slope, std::vector<double>& right,
             std::vector<double>& diagonal) const {
    for (size_t i = 0; i < rows_.size(); i++) {
      float weight[8], turn[8][3];
      weights(rows_[i].t, weight, turn);
      const float square = turned_[i] * turned_[i];
      for (int c = 0; c < 8; c++) {
        float along = 0, length = 0;
        for (int a = 0; a < 3; a++) {
          along += turn[c][a] * slope[i * 3 + size_t(a)];
          length += turn[c][a] * turn[c][a];
        }
        right[size_t(rows_[i].corner[c])] += weight[c] * height[i] + square * along;
        diagonal[size_t(rows_[i].corner[c])] += weight[c] * weight[c] + square * length;
      }
    }
    for (const auto& [one, other] : beside_) {
      diagonal[size_t(one)] += stiff_;
      diagonal[size_t(other)] += stiff_;
    }
  }

  void product(const std::vector<double>& value, std::vector<double>& total) const {
    std::fill(total.begin(), total.end(), 0.);
    for (size_t i = 0; i < rows_.size(); i++) {
      float weight[8], turn[8][3], height, slope[3];
      weights(rows_[i].t, weight, turn);
      explained(rows_[i], weight, turn, value, height, slope);
      const float square = turned_[i] * turned_[i];
      for (int c = 0; c < 8; c++) {
        float part = 0;
        for (int a = 0; a < 3; a++) part += turn[c][a] * slope[a];
        total[size_t(rows_[i].corner[c])] += weight[c] * height + square * part;
      }
    }
    for (const auto& [one, other] : beside_) {
      const double differ = stiff_ * (value[size_t(one)] - value[size_t(other)]);
      total[size_t(one)] += differ;
      total[size_t(other)] -= differ;
    }
  }

  // Takes what the values explain from height and slope, these per unit.
  void take(const std::vector<double>& value, float cell, float* height, float* slope) const {
    for (size_t i = 0; i < rows_.size(); i++) {
      float weight[8], turn[8][3], own, along[3];
      weights(rows_[i].t, weight, turn);
      explained(rows_[i], weight, turn, value, own, along);
      height[i] -= own;
      for (size_t a = 0; a < 3; a++) slope[i * 3 + a] -= along[a] / cell;
    }
  }

  std::vector<int64_t> corners;

 private:
  static constexpr size_t kSize = kBrick * kBrick * kBrick;
  struct Row {
    int32_t corner[8];
    float t[3];
  };
  static void weights(const float* t, float* weight, float (*turn)[3]) {
    for (int c = 0; c < 8; c++) {
      float share[3];
      for (int a = 0; a < 3; a++) share[a] = c >> (2 - a) & 1 ? t[a] : 1 - t[a];
      weight[c] = share[0] * share[1] * share[2];
      for (int a = 0; a < 3; a++) {
        const float others = share[(a + 1) % 3] * share[(a + 2) % 3];
        turn[c][a] = c >> (2 - a) & 1 ? others : -others;
      }
    }
  }
  static void explained(const Row& row, const float* weight, const float (*turn)[3],
                        const std::vector<double>& value, float& height, float* slope) {
    height = slope[0] = slope[1] = slope[2] = 0;
    for (int c = 0; c < 8; c++) {
      const float corner = float(value[size_t(row.corner[c])]);
      height += weight[c] * corner;
      for (int a = 0; a < 3; a++) slope[a] += turn[c][a] * corner;
    }
  }

  const float* turned_;
  float stiff_;
  std::vector<Row> rows_;
  std::vector<std::pair<int32_t, int32_t>> beside_;
};

double product(const std::vector<double>& one, const std::vector<double>& other) {
  double sum = 0;
  for (size_t i = 0; i < one.size(); i++) sum += one[i] * other[i];
  return sum;
}

}  // namespace

FittedGrid fit_grid(const float* x, int64_t n, const float* turned, float* height, float* slope, int resolution,
                    float bound, float stiff, int rounds) {
  Equations equations(x, n, turned, resolution, bound, stiff);
  const size_t count = equations.corners.size();
  const float cell = 2 * bound / float(resolution);
  std::vector<double> left(count), diagonal(count), value(count), steep(count), toward(count), total(count);
  {
    std::vector<float> wanted(slope, slope + n * 3);
    for (float& one : wanted) one *= cell;
    equations.sides(height, wanted, left, diagonal);
  }
  for (size_t i = 0; i < count; i++) toward[i] = steep[i] = left[i] / diagonal[i];
  double size = product(left, steep);
  for (int round = 0; round < rounds && size > 0; round++) {
    equations.product(toward, total);
    const double share = size / product(toward, total), before = size;
    for (size_t i = 0; i < count; i++) {
      value[i] += share * toward[i];
      left[i] -= share * total[i];
      steep[i] = left[i] / diagonal[i];
    }
    size = product(left, steep);
    for (size_t i = 0; i < count; i++) toward[i] = steep[i] + size / before * toward[i];
  }
  equations.take(value, cell, height, slope);
  return {std::move(equations.corners), std::vector<float>(value.begin(), value.end())};
}

void add_residual(const std::vector<Bricks>& grids, int dimension, float bound, int threads, const float* x,
                  int64_t n, float* f, float* g) {
  constexpr int64_t size = 2048;  // points a task
  ThreadPool::shared().run(int((n + size - 1) / size), threads, [&](int task, int) {
    for (int64_t i = task * size; i < std::min((task + 1) * size, n); i++)
      for (const Bricks& grid : grids) {
        const auto one = dimension == 3 ? add<3> : add<2>;
        one(grid, bound, x + i * dimension, f + i, g ? g + i * dimension : nullptr);
      }
  });
}

}  // namespace igr
