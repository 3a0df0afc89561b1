# The CUDA backend: nvcc compiles the .cu files of csrc. cuBLAS and cuSOLVER come from
# the toolkit, or from the wheels nvidia-cublas and nvidia-cusolver, which hold versioned libraries only.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
endif()
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

execute_process(
  COMMAND ${Python_EXECUTABLE} -c
          "import nvidia, os; print(os.path.join(list(nvidia.__path__)[0], 'cu${CUDAToolkit_VERSION_MAJOR}'), end='')"
  OUTPUT_VARIABLE nvidia_wheels ERROR_QUIET)
find_path(FASTOPT_CUBLAS_INCLUDE NAMES cublas_v2.h
          HINTS ${CUDAToolkit_INCLUDE_DIRS} ${nvidia_wheels}/include NO_DEFAULT_PATH)
find_library(FASTOPT_CUBLAS NAMES cublas libcublas.so.${CUDAToolkit_VERSION_MAJOR}
             HINTS ${CUDAToolkit_LIBRARY_DIR} ${nvidia_wheels}/lib NO_DEFAULT_PATH)
find_library(FASTOPT_CUSOLVER NAMES cusolver libcusolver.so.12 libcusolver.so.11
             HINTS ${CUDAToolkit_LIBRARY_DIR} ${nvidia_wheels}/lib NO_DEFAULT_PATH)
if(NOT FASTOPT_CUBLAS_INCLUDE OR NOT FASTOPT_CUBLAS OR NOT FASTOPT_CUSOLVER)
  message(FATAL_ERROR "FASTOPT_CUDA needs cuBLAS and cuSOLVER of CUDA ${CUDAToolkit_VERSION}: install "
                      "the whole toolkit, or `pip install 'nvidia-cublas' 'nvidia-cusolver'`.")
endif()

# No fused multiply-adds: the same bits as the CPU. Spilled registers and local memory are errors.
add_library(fastopt_cuda OBJECT csrc/backend/cuda.cu csrc/backend/exchange.cu csrc/kernels.cu
            csrc/admm_relu/admm_steps.cu csrc/admm_relu/paper_steps.cu
            csrc/admm_relu/robust_steps.cu csrc/sketch_newton/glm_steps.cu
            csrc/sketch_newton/kkt_steps.cu csrc/sketch_newton/sketch_steps.cu)
target_include_directories(fastopt_cuda PUBLIC csrc)
target_include_directories(fastopt_cuda SYSTEM PRIVATE ${FASTOPT_CUBLAS_INCLUDE})
target_compile_options(
  fastopt_cuda
  PRIVATE -fmad=false -Werror=all-warnings -Xptxas=-warn-spills,-warn-lmem-usage,-Werror
          -Xcompiler=-Wall,-Wextra,-ffp-contract=off)
target_link_libraries(
  fastopt_cuda
  PUBLIC CUDA::cudart_static ${FASTOPT_CUBLAS} ${FASTOPT_CUSOLVER} -Wl,--allow-shlib-undefined)

if(FASTOPT_PYTHON)
  fastopt_module(_cuda cuda fastopt_cuda)
  set_target_properties(_cuda PROPERTIES BUILD_RPATH "${nvidia_wheels}/lib"
                                         INSTALL_RPATH "$ORIGIN:$ORIGIN/../nvidia/cu${CUDAToolkit_VERSION_MAJOR}/lib")
  target_link_options(_cuda PRIVATE $<$<CONFIG:Release>:-s>)
  install(TARGETS _cuda LIBRARY DESTINATION fastopt)
endif()
