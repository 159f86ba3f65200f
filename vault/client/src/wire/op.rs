//! Operations and the doors they go through.

/// A connection serves one door: the stream is first in, first out, so a slow call must not stand
/// before a fast one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Door {
    /// Calls on the path of agents' requests: microseconds.
    Calls = 0,
    /// Signatures of TLS handshakes.
    Tls = 1,
    /// Operator acts, enrolment, inventory: may write the state file.
    Slow = 2,
}

impl Door {
    /// The door that a hello's byte names.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Door::Calls),
            1 => Some(Door::Tls),
            2 => Some(Door::Slow),
            _ => None,
        }
    }
}

macro_rules! operations {
    ($($name:ident = $number:literal, $text:literal, $door:ident;)*) => {
        /// The operations of the socket. A number, once given, keeps its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Op {
            $(#[doc = $text] $name = $number,)*
        }

        impl Op {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Op] = &[$(Op::$name),*];

            /// The operation with this number.
            pub fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($number => Some(Op::$name),)*
                    _ => None,
                }
            }

            /// The name that counters and logs use.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Op::$name => $text,)*
                }
            }

            /// The only door that serves it.
            pub fn door(self) -> Door {
                match self {
                    $(Op::$name => Door::$door,)*
                }
            }
        }
    };
}

operations! {
    Describe = 1, "describe", Calls;
    MintToken = 2, "mint_token", Calls;
    Release = 3, "release", Calls;
    Seal = 4, "seal", Calls;
    Open = 5, "open", Calls;
    BlindIndex = 6, "blind_index", Calls;
    SignStatusList = 7, "sign_status_list", Calls;
    SealAccessToken = 8, "seal_access_token", Calls;
    ExchangeToken = 9, "exchange_token", Calls;
    TlsSign = 16, "tls_sign", Tls;
    Enrol = 32, "enrol", Slow;
    Renew = 33, "renew", Slow;
    SetGrant = 34, "set_grant", Slow;
    SetCredential = 35, "set_credential", Slow;
    Revoke = 36, "revoke", Slow;
    SetRoster = 37, "set_roster", Slow;
    CertifyOperator = 38, "certify_operator", Slow;
    CertifyServer = 39, "certify_server", Slow;
    NewDek = 40, "new_dek", Slow;
    LoadDek = 41, "load_dek", Slow;
    Inventory = 42, "inventory", Slow;
    Health = 43, "health", Slow;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_number() {
        for op in Op::ALL {
            assert_eq!(Op::from_byte(*op as u8), Some(*op));
        }
        assert_eq!(Op::from_byte(0), None);
    }
}
