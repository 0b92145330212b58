# An image of lsmtpd: one static binary, and nothing else that runs.
#
#   docker build -t lsmtpd .
#   docker run --rm lsmtpd demo --once --size 10MB
#
# By default lsmtpd listens on the container's loopback only: set LSMTPD_SMTP_LISTEN=smtp://0.0.0.0:2525 or the like.
# There is no HEALTHCHECK: it would not know the flags that serve was given. Where all settings come from the
# environment, ["/lsmtpd", "check", "--connect"] is one, as in docker-compose.yml; for probes over HTTP there is
# /readyz of the admin listener.

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# The commit that "lsmtpd version" tells comes from .git, which is why it is part of the context.
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /lsmtpd ./cmd/lsmtpd
# What the final image has no shell to make: the folder for data, and one for temporary files, which demo uses.
RUN mkdir -p /state/lsmtpd /scratch/tmp && chmod 1777 /scratch/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /scratch /
COPY --from=build --chown=65532:65532 /state /var/lib
COPY --from=build /lsmtpd /lsmtpd
USER 65532:65532
WORKDIR /var/lib/lsmtpd
EXPOSE 2525
ENTRYPOINT ["/lsmtpd"]
CMD ["serve"]
