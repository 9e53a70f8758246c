#include "root/audio/sinc.h"

#include <math.h>

/* Modified Bessel function of the first kind, order 0, by its series. */
static double bessel_i0(double x)
{
    double sum = 1, term = 1;
    for (int k = 1; k < 40; k++) {
        term *= x / (2 * k) * (x / (2 * k));
        sum += term;
    }
    return sum;
}

double sinc_kaiser(double t, double half, double beta)
{
    if (t == rint(t)) return t == 0;
    double u = t / half;
    return sin(M_PI * t) / (M_PI * t) * bessel_i0(beta * sqrt(fmax(0, 1 - u * u))) / bessel_i0(beta);
}
