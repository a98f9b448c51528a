// Two ways to a listening socket, so that stacks differ. Waits for the end of
// its input, so that it can be looked at while it lives.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace demo {

// Each step is a function with a frame of its own, and none is the last act of its caller.
#define STEP __attribute__((noinline))

class Sockets {
public:
    STEP static int open() {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        return fd < 0 ? -1 : fd;
    }

    STEP static int bound(int fd) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const int result = bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address);
        return result < 0 ? -1 : fd;
    }
};

class ListenerImpl {
public:
    explicit ListenerImpl(std::string name) : name_(std::move(name)) {}

    STEP int start(int backlog) {
        const int fd = Sockets::bound(Sockets::open());
        const int result = listening(fd, backlog);
        return result < 0 ? -1 : fd;
    }

private:
    STEP int listening(int fd, int backlog) {
        const int result = listen(fd, backlog);
        return result < 0 ? -1 : fd;
    }

    std::string name_;
};

STEP int startAdmin() {
    const int fd = Sockets::bound(Sockets::open());
    const int result = listen(fd, 1);
    return result < 0 ? -1 : fd;
}

}  // namespace demo

int main() {
    demo::ListenerImpl first("first"), second("second");
    int failed = 0;
    for (auto *listener : {&first, &second}) failed += listener->start(7) < 0;
    failed += demo::startAdmin() < 0;
    std::puts("ready");
    std::fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
    return failed;
}
