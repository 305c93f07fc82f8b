/* What all of it shares: loops that GCC vectorizes, and Clang all but the sums and maxima of floats. */

#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(...) #__VA_ARGS__
#define SIMD _Pragma("omp simd")
#define SUM(...) _Pragma(TEXT(omp simd reduction(+ : __VA_ARGS__)))
#define MAX(...) _Pragma(TEXT(omp simd reduction(max : __VA_ARGS__)))

enum { DONE, OUT_OF_RANGE, OUT_OF_MEMORY }; /* what a function returns */
