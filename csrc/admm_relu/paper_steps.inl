// The steps that a backend defines; the constructor is the loop's (paper_admm.cpp).

#define FASTOPT_PAPER_STEPS(T)                                                                     \
    template void PaperSteps<T>::factor(double, double);                                           \
    template void PaperSteps<T>::right_hand_side(double, double);                                  \
    template PaperSteps<T>::Sums PaperSteps<T>::advance(double);                                   \
    template PaperSteps<T>::Squares PaperSteps<T>::cone_squares();                                 \
    template void PaperSteps<T>::rescale_cones(double);                                            \
    template void PaperSteps<T>::relu_predict(const double*, double*);
