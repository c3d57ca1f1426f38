//! Keys, certificates, TLS, JWS, the register, the one dialer.
