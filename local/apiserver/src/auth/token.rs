//! Tokens of ServiceAccounts: JSON Web Tokens (RFC 7519), signed with ES256, with the claims that Kubernetes gives
//! them (<https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#schema-for-service-account-private-claims>).

use aws_lc_rs::{
    error::{KeyRejected, Unspecified},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        UnparsedPublicKey,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};

/// Whom tokens are for if nothing else is said, and who issues them.
pub(crate) const AUDIENCE: &str = "https://kubernetes.default.svc";

/// The longest token that is looked at.
pub(crate) const MAX_TOKEN: usize = 16 * 1024;

/// What every token begins with.
const HEADER: &str = r#"{"alg":"ES256","typ":"JWT"}"#;

/// What a token says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Claims {
    pub(crate) aud: Vec<String>,
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) iss: String,
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) kubernetes: Bound,
    pub(crate) nbf: i64,
    pub(crate) sub: String,
}

/// What a token is bound to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Bound {
    pub(crate) namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Reference>,
    pub(crate) serviceaccount: Reference,
}

/// One object, and none of the same name that comes after it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// Why a token is not good.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it is none of this server")]
    Foreign,
    #[error("it has expired")]
    Expired,
    #[error("it is for another audience")]
    Audience,
    #[error("what it is bound to is gone ({0})")]
    Gone(&'static str),
}

/// Signs tokens, and knows those that it has signed.
pub(crate) struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

// === impl Signer ===

impl Signer {
    /// With a private key on the curve P-256, in PKCS #8.
    pub(crate) fn new(key: &[u8]) -> Result<Self, KeyRejected> {
        Ok(Self {
            key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key)?,
            random: SystemRandom::new(),
        })
    }

    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, Unspecified> {
        let claims = serde_json::to_vec(claims).map_err(|_| Unspecified)?;
        let signed = format!("{}.{}", BASE64.encode(HEADER), BASE64.encode(claims));
        let signature = self.key.sign(&self.random, signed.as_bytes())?;
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }

    /// What a token says that this server has signed and that is good at this time, in seconds since 1970.
    pub(crate) fn verify(&self, token: &str, now: i64) -> Result<Claims, Refused> {
        if token.len() > MAX_TOKEN {
            return Err(Refused::Foreign);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refused::Foreign)?;
        let signature = BASE64.decode(signature).map_err(|_| Refused::Foreign)?;
        // The signature is over the header too, which is always the same: no other algorithm gets in.
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| Refused::Foreign)?;
        let claims = signed.split_once('.').map(|(_, claims)| claims);
        let claims: Claims = claims
            .and_then(|claims| BASE64.decode(claims).ok())
            .and_then(|claims| serde_json::from_slice(&claims).ok())
            .filter(|claims: &Claims| claims.iss == AUDIENCE)
            .ok_or(Refused::Foreign)?;
        if (claims.nbf..claims.exp).contains(&now) {
            Ok(claims)
        } else {
            Err(Refused::Expired)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        let key = rcgen::KeyPair::generate().unwrap();
        Signer::new(&key.serialize_der()).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            aud: vec![AUDIENCE.to_owned()],
            exp: 200,
            iat: 100,
            iss: AUDIENCE.to_owned(),
            jti: "t".to_owned(),
            kubernetes: Bound {
                namespace: "n".to_owned(),
                pod: None,
                secret: None,
                serviceaccount: Reference {
                    name: "robot".to_owned(),
                    uid: "u".to_owned(),
                },
            },
            nbf: 100,
            sub: "system:serviceaccount:n:robot".to_owned(),
        }
    }

    #[test]
    fn a_token_is_good_in_its_time_alone() {
        let signer = signer();
        let token = signer.sign(&claims()).unwrap();
        assert_eq!(signer.verify(&token, 100), Ok(claims()));
        assert_eq!(signer.verify(&token, 199), Ok(claims()));
        for time in [99, 200, i64::MAX] {
            assert_eq!(signer.verify(&token, time), Err(Refused::Expired));
        }
    }

    #[test]
    fn what_others_have_signed_or_changed_is_refused() {
        let signer = signer();
        let token = signer.sign(&claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let mut changed = claims();
        changed.sub = "system:admin".to_owned();
        let changed = BASE64.encode(serde_json::to_vec(&changed).unwrap());
        let none = BASE64.encode(r#"{"alg":"none"}"#);
        for forged in [
            super::tests::signer().sign(&claims()).unwrap(),
            format!("{}.{changed}.{}", parts[0], parts[2]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{none}.{}.", parts[1]),
            format!("{}.{}", parts[1], parts[2]),
            String::new(),
            "a.b.c".to_owned(),
            "x".repeat(MAX_TOKEN + 1),
        ] {
            assert_eq!(
                signer.verify(&forged, 150),
                Err(Refused::Foreign),
                "{forged}"
            );
        }
    }
}
