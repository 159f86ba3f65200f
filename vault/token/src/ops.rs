//! What the token does with its keys.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::Session;
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

use crate::error::TokenError;
use crate::inventory::{self, KeyReport};
use crate::key::{Algorithm, CHECK_BLOCK, CHECK_VALUE_LENGTH, CheckValue, KeyRef, PublicKey, Role};
use crate::object::{self, Read};
use crate::provision;
use crate::session::TokenSession;

/// Octets of the initialisation vector that [`KeyOps::seal`] puts before the ciphertext.
const IV_LENGTH: usize = 12;
const TAG_LENGTH: usize = 16;

/// Operations of a token session. Any error costs the session; the next operation opens a new one.
///
/// A trait, so that a process of its own may hold the session.
pub trait KeyOps: Send {
    /// The key of this role and version: exactly one.
    ///
    /// # Errors
    /// [`TokenError::NotFound`] when the token is there and the key is not, [`TokenError::Vanished`]
    /// when the token shows nothing.
    fn find(&mut self, role: Role, version: u32) -> Result<KeyRef, TokenError>;

    /// ECDSA over a SHA-256 digest; r ‖ s, randomised, high s half the time.
    fn sign_p256(&mut self, key: &KeyRef, digest: &[u8; 32]) -> Result<[u8; 64], TokenError>;

    /// Ed25519 over the message itself (RFC 8032).
    fn sign_ed25519(&mut self, key: &KeyRef, message: &[u8]) -> Result<[u8; 64], TokenError>;

    /// HMAC-SHA-256, always 32 octets. Compare in constant time; the token does not verify MACs.
    ///
    /// # Errors
    /// [`TokenError::ReservedData`] when `data` begin with [`CHECK_BLOCK`].
    fn hmac(&mut self, key: &KeyRef, data: &[u8]) -> Result<[u8; 32], TokenError>;

    /// AES-256-GCM: 12 octets of IV ‖ ciphertext ‖ 16 octets of tag.
    fn seal(&mut self, key: &KeyRef, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, TokenError>;

    /// The plaintext of what [`KeyOps::seal`] gave.
    ///
    /// # Errors
    /// [`TokenError::Sealed`] when key, `aad` and ciphertext do not belong together and the token
    /// still gives a known answer; tokens say the same of a tampered ciphertext as of a defect.
    fn open(&mut self, key: &KeyRef, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, TokenError>;

    /// Random octets of the token, mixed with the kernel's: either alone would do.
    fn random(&mut self, out: &mut [u8]) -> Result<(), TokenError>;

    /// The public half of a pair.
    fn public_key(&mut self, key: &KeyRef) -> Result<PublicKey, TokenError>;

    /// The public half of a P-256 pair, SEC 1 uncompressed.
    fn public_sec1(&mut self, key: &KeyRef) -> Result<[u8; 65], TokenError> {
        match self.public_key(key)? {
            PublicKey::P256(point) => Ok(point),
            PublicKey::Ed25519(_) => Err(wrong(key, "P-256")),
        }
    }

    /// The known answer of a secret key; see [`CheckValue`].
    fn check_value(&mut self, key: &KeyRef) -> Result<CheckValue, TokenError>;

    /// What recognises a key: SHA-256 of a pair's SPKI, or a secret key's check value.
    fn fingerprint(&mut self, key: &KeyRef) -> Result<Vec<u8>, TokenError> {
        match key.algorithm().is_pair() {
            true => Ok(self.public_key(key)?.fingerprint().to_vec()),
            false => Ok(self.check_value(key)?.to_vec()),
        }
    }

    /// Computes the known answer of a pinned secret key: the only sign that a token works. Searches
    /// and random octets go on working without its storage.
    ///
    /// # Errors
    /// [`TokenError::KeyChanged`] when it answers otherwise.
    fn known_answer(&mut self, key: &KeyRef, pinned: &CheckValue) -> Result<(), TokenError> {
        match self.check_value(key)? == *pinned {
            true => Ok(()),
            false => Err(TokenError::KeyChanged { label: key.label().to_owned() }),
        }
    }

    /// The version of the vault's state that the token remembers; 0 after provisioning.
    fn read_version(&mut self) -> Result<u64, TokenError>;

    /// Remembers a version.
    ///
    /// # Errors
    /// [`TokenError::VersionBack`] when the held one is higher.
    fn write_version(&mut self, version: u64) -> Result<(), TokenError>;

    /// Every key object of the token, each attribute read live and by itself.
    ///
    /// # Errors
    /// [`TokenError::Vanished`] where the token shows no object of ours: that is not "no keys".
    fn inventory(&mut self) -> Result<Vec<KeyReport>, TokenError>;

    /// Refuses a key whose attributes are not those it was made with, or that was not made in the
    /// token: the table of the crate's `attribute` module, and CKA_LOCAL, CKA_ALWAYS_SENSITIVE and
    /// CKA_NEVER_EXTRACTABLE.
    ///
    /// # Errors
    /// [`TokenError::Attribute`] names the first.
    fn check_attributes(&mut self, key: &KeyRef) -> Result<(), TokenError>;
}

impl KeyOps for TokenSession {
    fn find(&mut self, role: Role, version: u32) -> Result<KeyRef, TokenError> {
        self.with(|open, _| {
            let label = role.label(version);
            let session = &open.session;
            let class = match role {
                Role::TokenSigning | Role::AgentCa | Role::ServerTls | Role::LogSigning => ObjectClass::PRIVATE_KEY,
                Role::Kek | Role::MasterRoot | Role::StateMac | Role::BlindIndex => ObjectClass::SECRET_KEY,
            };
            let object = object::one(session, class, &label, None)?;
            let id = object::octets(session, object, AttributeType::Id)?;
            let kind = match object::read(session, object, AttributeType::KeyType)? {
                Read::Value(Attribute::KeyType(kind)) => kind,
                _ => {
                    return Err(TokenError::Answer {
                        function: "C_GetAttributeValue",
                        what: format!("no CKA_KEY_TYPE of {label}"),
                    });
                }
            };
            let algorithm = match (role, kind) {
                (Role::TokenSigning | Role::AgentCa | Role::ServerTls | Role::LogSigning, KeyType::EC) => {
                    Algorithm::EcP256
                }
                (Role::LogSigning, KeyType::EC_EDWARDS) => Algorithm::Ed25519,
                (Role::Kek, KeyType::AES) => Algorithm::Aes256,
                (Role::MasterRoot | Role::StateMac | Role::BlindIndex, KeyType::GENERIC_SECRET) => {
                    Algorithm::HmacSha256
                }
                _ => return Err(TokenError::WrongKey { label, operation: role.as_str() }),
            };
            Ok(KeyRef { role, version, label, id, algorithm })
        })
    }

    fn sign_p256(&mut self, key: &KeyRef, digest: &[u8; 32]) -> Result<[u8; 64], TokenError> {
        expect(key, Algorithm::EcP256, "ECDSA")?;
        self.with(|open, _| {
            let handle = open.handle(ObjectClass::PRIVATE_KEY, key)?;
            exactly("C_Sign", &open.session.sign(&Mechanism::Ecdsa, handle, digest)?)
        })
    }

    fn sign_ed25519(&mut self, key: &KeyRef, message: &[u8]) -> Result<[u8; 64], TokenError> {
        expect(key, Algorithm::Ed25519, "Ed25519")?;
        self.with(|open, _| {
            let handle = open.handle(ObjectClass::PRIVATE_KEY, key)?;
            let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
            exactly("C_Sign", &open.session.sign(&mechanism, handle, message)?)
        })
    }

    fn hmac(&mut self, key: &KeyRef, data: &[u8]) -> Result<[u8; 32], TokenError> {
        if data.starts_with(CHECK_BLOCK) {
            return Err(TokenError::ReservedData { label: key.label.clone() });
        }
        mac(self, key, data)
    }

    fn seal(&mut self, key: &KeyRef, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, TokenError> {
        expect(key, Algorithm::Aes256, "AES-GCM")?;
        self.with(|open, _| {
            let handle = open.handle(ObjectClass::SECRET_KEY, key)?;
            let mut iv = [0; IV_LENGTH];
            mixed_random(&open.session, &mut iv)?;
            let ciphertext = {
                let mechanism = gcm(&mut iv, aad)?;
                open.session.encrypt(&mechanism, handle, plaintext)?
            };
            // Read back: a token may have written an IV of its own.
            if iv == [0; IV_LENGTH] || ciphertext.len() != plaintext.len() + TAG_LENGTH {
                return Err(TokenError::Answer { function: "C_Encrypt", what: "no IV, or no tag".into() });
            }
            Ok([iv.as_slice(), &ciphertext].concat())
        })
    }

    fn open(&mut self, key: &KeyRef, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, TokenError> {
        expect(key, Algorithm::Aes256, "AES-GCM")?;
        let refused = || TokenError::Sealed { label: key.label.clone() };
        let Some((iv, ciphertext)) = sealed.split_first_chunk::<IV_LENGTH>() else { return Err(refused()) };
        if ciphertext.len() < TAG_LENGTH {
            return Err(refused());
        }
        let opened = self.with(|open, _| {
            let handle = open.handle(ObjectClass::SECRET_KEY, key)?;
            let mut iv = *iv;
            let mechanism = gcm(&mut iv, aad)?;
            Ok(Zeroizing::new(open.session.decrypt(&mechanism, handle, ciphertext)?))
        });
        match opened {
            Ok(plaintext) if plaintext.len() == ciphertext.len() - TAG_LENGTH => Ok(plaintext),
            Ok(_) => {
                Err(TokenError::Answer { function: "C_Decrypt", what: "another length than the ciphertext's".into() })
            }
            // SoftHSM says CKR_GENERAL_ERROR of a wrong tag, and of a defect.
            Err(error) if error.is_call("C_Decrypt") => {
                self.check_value(key)?;
                Err(refused())
            }
            Err(error) => Err(error),
        }
    }

    fn random(&mut self, out: &mut [u8]) -> Result<(), TokenError> {
        self.with(|open, _| mixed_random(&open.session, out))
    }

    fn public_key(&mut self, key: &KeyRef) -> Result<PublicKey, TokenError> {
        if !key.algorithm.is_pair() {
            return Err(wrong(key, "a public half"));
        }
        self.with(|open, _| {
            let handle = open.handle(ObjectClass::PUBLIC_KEY, key)?;
            inventory::public_key(&open.session, handle, key.algorithm)
        })
    }

    fn check_value(&mut self, key: &KeyRef) -> Result<CheckValue, TokenError> {
        let answer: [u8; 32] = match key.algorithm {
            Algorithm::HmacSha256 => mac(self, key, &[CHECK_BLOCK.as_slice(), key.label.as_bytes()].concat())?,
            Algorithm::Aes256 => self.with(|open, _| {
                let handle = open.handle(ObjectClass::SECRET_KEY, key)?;
                let block: [u8; 16] =
                    exactly("C_Encrypt", &open.session.encrypt(&Mechanism::AesEcb, handle, CHECK_BLOCK)?)?;
                let mut answer = [0; 32];
                answer[..16].copy_from_slice(&block);
                Ok(answer)
            })?,
            Algorithm::EcP256 | Algorithm::Ed25519 => return Err(wrong(key, "a check value")),
        };
        let mut value = [0; CHECK_VALUE_LENGTH];
        value.copy_from_slice(&answer[..CHECK_VALUE_LENGTH]);
        Ok(value)
    }

    fn read_version(&mut self) -> Result<u64, TokenError> {
        self.with(|open, _| object::read_version(&open.session))
    }

    fn write_version(&mut self, version: u64) -> Result<(), TokenError> {
        self.with(|open, _| object::write_version(&open.session, version))
    }

    fn inventory(&mut self) -> Result<Vec<KeyReport>, TokenError> {
        let mut reports = self.with(|open, _| inventory::read(&open.session))?;
        for report in &mut reports {
            if let Some(key) = report.secret_key_of_ours() {
                report.fingerprint = inventory::hex(&self.check_value(&key)?);
            }
        }
        Ok(reports)
    }

    fn check_attributes(&mut self, key: &KeyRef) -> Result<(), TokenError> {
        self.with(|open, _| provision::check(open, key))
    }
}

fn mac(session: &mut TokenSession, key: &KeyRef, data: &[u8]) -> Result<[u8; 32], TokenError> {
    expect(key, Algorithm::HmacSha256, "HMAC")?;
    session.with(|open, _| {
        let handle = open.handle(ObjectClass::SECRET_KEY, key)?;
        let answer = Zeroizing::new(open.session.sign(&Mechanism::Sha256Hmac, handle, data)?);
        exactly("C_Sign", &answer)
    })
}

fn gcm<'a>(iv: &'a mut [u8; IV_LENGTH], aad: &'a [u8]) -> Result<Mechanism<'a>, TokenError> {
    let tag_bits = (TAG_LENGTH as u64 * 8).into();
    Ok(Mechanism::AesGcm(GcmParams::new(iv, aad, tag_bits)?))
}

/// Octets that are unpredictable as long as one of the two generators is.
pub(crate) fn mixed_random(session: &Session, out: &mut [u8]) -> Result<(), TokenError> {
    session.generate_random_slice(out)?;
    let mut kernel = Zeroizing::new(vec![0; out.len()]);
    let mut filled = 0;
    while filled < kernel.len() {
        match getrandom(&mut kernel[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(TokenError::Random(error.into())),
        }
    }
    out.iter_mut().zip(kernel.iter()).for_each(|(out, kernel)| *out ^= kernel);
    Ok(())
}

fn exactly<const N: usize>(function: &'static str, answer: &[u8]) -> Result<[u8; N], TokenError> {
    answer.try_into().map_err(|_| TokenError::Answer { function, what: format!("{} octets, not {N}", answer.len()) })
}

fn expect(key: &KeyRef, algorithm: Algorithm, operation: &'static str) -> Result<(), TokenError> {
    match key.algorithm == algorithm {
        true => Ok(()),
        false => Err(wrong(key, operation)),
    }
}

fn wrong(key: &KeyRef, operation: &'static str) -> TokenError {
    TokenError::WrongKey { label: key.label.clone(), operation }
}
